package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/e2e"
	"github.com/cairn-p2p/cairn/types"
)

// A report has its data as JSON and as pictures, and what a file or a payload
// says stays text.
func TestReport(t *testing.T) {
	const hostile = "</script><b>&\"'"
	g, err := types.NewOpen("t")
	if err != nil {
		t.Fatal(err)
	}
	var log []*types.Event
	for height := uint64(1); height <= 2; height++ {
		body := types.Body{Topic: g.ID(), Seq: height, Height: height, Payload: []byte(hostile)}
		if height > 1 {
			body.Links = []cid.Cid{log[0].CID}
		}
		e, err := types.NewEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, e)
	}
	name := filepath.Join(t.TempDir(), "report.html")
	if err := writeReport(name, &e2e.Result{
		Scenario: hostile, Medium: "simulated", Nodes: 2, Events: 2, Heads: 1, Wrong: []string{hostile},
		Faults:  []e2e.Happening{{At: time.Second, What: hostile}},
		Attacks: []e2e.AttackResult{{Behaviour: hostile, Peers: 1, Victims: 3, Named: 2, Done: 7, Proof: "offence"}},
		Growth:  5, GrowthCap: 6,
		Samples: []e2e.Sample{
			{At: 0, Events: []int{0, 0}},
			{At: time.Second, Acknowledged: 2, Events: []int{0, -1}},
			{At: 2 * time.Second, Acknowledged: 2, Events: []int{3, 1}},
		},
		Log: log,
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if strings.Contains(page, "<b>") || strings.Count(page, "</script>") != 1 {
		t.Error("a text became markup")
	}
	if strings.Count(page, "<svg") != 2 {
		t.Errorf("%d pictures, want 2", strings.Count(page, "<svg"))
	}
	for rest := page; ; {
		_, after, found := strings.Cut(rest, "<svg")
		if !found {
			break
		}
		svg, next, _ := strings.Cut(after, "</svg>")
		rest = next
		d := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("picture: %v", err)
			}
		}
	}
	if want := `d="M50.0 230.0M990.0 120.0"`; !strings.Contains(page, want) {
		t.Errorf("no line %s, of a node that was down in the middle and lacks one of at most two in the end", want)
	}
	_, data, _ := strings.Cut(page, `id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var got simData
	if err := json.Unmarshal([]byte(data), &got); err != nil {
		t.Fatalf("data: %v", err)
	}
	if got.Result.Scenario != hostile || got.Faults[0] != (happening{1, hostile}) || len(got.DAG.Nodes) != 2 || !got.DAG.Nodes[1].Head {
		t.Errorf("data %+v", got)
	}
	if a, p := got.Result.Attacks, got.Result.Peaks; len(a) != 1 || a[0].Named != 2 || p.Growth != 5 || p.MaxGrowth != 6 || !strings.Contains(page, "named by 2 nodes") {
		t.Errorf("attacks %+v, peaks %+v", a, p)
	}
	if s := got.Samples; len(s) != 3 || *s[1].Lag[0] != 2 || s[1].Lag[1] != nil || *s[2].Lag[0] != 0 || *s[2].Lag[1] != 1 {
		t.Errorf("samples %+v", s)
	}
}
