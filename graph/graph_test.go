package graph

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// events returns n events of so many publishers, each linking to its
// publisher's latest and, at times, to another's.
func events(n, publishers int) []Event {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	latest := make([]*Event, publishers)
	all := make([]Event, 0, n)
	for i := range n {
		p := rng.IntN(publishers)
		e := Event{
			CID:       fmt.Sprintf("bafyrei%057d", i),
			Publisher: fmt.Sprintf("12D3KooW%044d", p),
			Seq:       1,
			Height:    1,
			Time:      time.Unix(int64(i), 0),
			Payload:   fmt.Appendf(nil, "event %d", i),
		}
		for _, q := range []int{p, rng.IntN(2 * publishers)} {
			if q >= publishers || latest[q] == nil || len(e.Links) > 0 && e.Links[0] == latest[q].CID {
				continue
			}
			e.Links = append(e.Links, latest[q].CID)
			e.Height = max(e.Height, latest[q].Height+1)
		}
		if latest[p] != nil {
			e.Seq = latest[p].Seq + 1
		}
		all = append(all, e)
		latest[p] = &all[i]
	}
	return all
}

func lay(t *testing.T, topic Topic, events []Event) *Layout {
	t.Helper()
	l, err := Lay(topic, events)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// written returns what a layout is in a format.
func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlaces(t *testing.T) {
	for _, size := range []struct{ events, publishers int }{{0, 1}, {1, 1}, {10, 3}, {300, 3}, {300, 40}, {MaxEvents, 64}} {
		t.Run(fmt.Sprintf("%d of %d", size.events, size.publishers), func(t *testing.T) {
			all := events(size.events, size.publishers)
			l := lay(t, Topic{Name: "t"}, all)
			if len(l.Nodes) != len(all) {
				t.Fatalf("%d nodes", len(l.Nodes))
			}
			checkPlaces(t, l)
			checkLinks(t, l, all)
			wellFormed(t, written(t, l.WriteSVG))
		})
	}
}

// checkPlaces holds a layout to its promises: height grows to the right, each
// publisher has a lane, and nothing hides anything.
func checkPlaces(t *testing.T, l *Layout) {
	t.Helper()
	taken := map[[2]int]string{}
	for i, n := range l.Nodes {
		if lane := l.Lanes[n.Lane]; lane.Publisher != n.Publisher || lane.Lane != n.Lane {
			t.Errorf("%s is in the lane of %s", n.CID, lane.Publisher)
		}
		if n.X < marginLeft || n.X > l.Width-marginRight || n.Y < marginTop || n.Y > l.Height-marginBottom {
			t.Errorf("%s is off the picture at %d, %d", n.CID, n.X, n.Y)
		}
		if other, ok := taken[[2]int{n.X, n.Y}]; ok {
			t.Errorf("%s hides %s", n.CID, other)
		}
		taken[[2]int{n.X, n.Y}] = n.CID
		if i == 0 {
			continue
		}
		before := l.Nodes[i-1]
		if (n.Height > before.Height) != (n.X > before.X) || n.Height < before.Height {
			t.Errorf("%s of height %d at %d, %s of height %d at %d", n.CID, n.Height, n.X, before.CID, before.Height, before.X)
		}
	}
	for i, lane := range l.Lanes[min(1, len(l.Lanes)):] {
		if lane.Publisher <= l.Lanes[i].Publisher || lane.Y-l.Lanes[i].Y < thinLane {
			t.Errorf("lane %d at %d after one at %d", lane.Lane, lane.Y, l.Lanes[i].Y)
		}
	}
}

// checkLinks holds edges and heads to the events.
func checkLinks(t *testing.T, l *Layout, all []Event) {
	t.Helper()
	links, linked := map[[2]string]bool{}, map[string]bool{}
	for _, e := range all {
		for _, link := range e.Links {
			links[[2]string{e.CID, link}], linked[link] = true, true
		}
	}
	if len(l.Edges) != len(links) {
		t.Errorf("%d edges for %d links", len(l.Edges), len(links))
	}
	for _, e := range l.Edges {
		if !links[[2]string{e.From, e.To}] || !e.Drawn {
			t.Errorf("edge %+v", e)
		}
	}
	for _, n := range l.Nodes {
		if n.Head == linked[n.CID] {
			t.Errorf("%s: head %t", n.CID, n.Head)
		}
	}
}

// Two events of one publisher and height, as two nodes with one key make them.
func TestForkIsSeen(t *testing.T) {
	l := lay(t, Topic{}, []Event{
		{CID: "a", Publisher: "p", Height: 1},
		{CID: "b", Publisher: "p", Height: 2, Links: []string{"a"}},
		{CID: "c", Publisher: "p", Height: 2, Links: []string{"a"}},
		{CID: "d", Publisher: "q", Height: 3, Links: []string{"b", "c"}},
	})
	checkPlaces(t, l)
	if l.Nodes[1].X != l.Nodes[2].X || l.Nodes[2].Y-l.Nodes[1].Y < 2*l.scale.radius {
		t.Errorf("forked events at %d, %d and %d, %d", l.Nodes[1].X, l.Nodes[1].Y, l.Nodes[2].X, l.Nodes[2].Y)
	}
}

// Heights may be any, and gaps take no room.
func TestHugeHeights(t *testing.T) {
	l := lay(t, Topic{}, []Event{
		{CID: "b", Publisher: "p", Height: math.MaxInt64, Links: []string{"a"}},
		{CID: "a", Publisher: "p", Height: 7, Links: []string{"old"}},
	})
	checkPlaces(t, l)
	if l.Width != minWidth {
		t.Errorf("two events are %d wide", l.Width)
	}
}

// Links to what is not drawn are stubs, and the caption says how much that is.
func TestStubs(t *testing.T) {
	all := events(100, 3)
	l := lay(t, Topic{Name: "t", Events: 100, OlderHeads: 2}, all[90:])
	stubs, outside := 0, 0
	for _, e := range l.Edges {
		if !e.Drawn {
			stubs++
		}
	}
	for _, n := range l.Nodes {
		outside += n.outside
	}
	svg := written(t, l.WriteSVG)
	if stubs == 0 || outside != stubs || !strings.Contains(svg, `class="stub"`) || !strings.Contains(svg, "not drawn</title>") {
		t.Errorf("%d stubs, %d outside", stubs, outside)
	}
	if !strings.Contains(svg, "the last 10 of 100 events, 3 publishers") || !strings.Contains(svg, "and 2 older") {
		t.Errorf("caption %q", l.caption())
	}
	if dot := written(t, l.WriteDOT); !strings.Contains(dot, "style=dashed") {
		t.Error("no stub in DOT")
	}
}

// The output depends on nothing but what is drawn: not on the order of the
// events, nor on that of a map.
func TestDeterministic(t *testing.T) {
	all := events(300, 7)
	l := lay(t, Topic{Name: "t"}, all)
	for range 5 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		again := lay(t, Topic{Name: "t"}, all)
		for name, write := range map[string]func(*Layout, io.Writer) error{
			"SVG": (*Layout).WriteSVG, "DOT": (*Layout).WriteDOT, "JSON": (*Layout).WriteJSON,
		} {
			of := func(l *Layout) string { return written(t, func(w io.Writer) error { return write(l, w) }) }
			if of(l) != of(again) {
				t.Errorf("%s differs", name)
			}
		}
	}
}

// What others published must neither break the formats nor get into them.
func TestHostileText(t *testing.T) {
	for _, text := range []string{
		`</text></svg><script>alert(1)</script>`, "\x00\x1b[31m\x7f", "\xff\xfe", `"];a->b;["`, `\`, "a\nb", "]]>", "\u202egnp", "￾", "&amp;",
	} {
		l := lay(t, Topic{Name: text, ID: text}, []Event{
			{CID: "a" + text, Publisher: text, Height: 1, Payload: []byte(strings.Repeat(text, 20))},
			{CID: "b" + text, Publisher: "p", Height: 2, Links: []string{"a" + text, "c" + text}},
		})
		svg := written(t, l.WriteSVG)
		wellFormed(t, svg)
		if strings.Contains(svg, "<script") {
			t.Errorf("%q got into the SVG", text)
		}
		if !json.Valid([]byte(written(t, l.WriteJSON))) {
			t.Errorf("%q broke the JSON", text)
		}
		for _, line := range strings.Split(written(t, l.WriteDOT), "\n") {
			if strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\"`, ""), `"`)%2 != 0 {
				t.Errorf("%q left a string open: %s", text, line)
			}
		}
	}
}

// wellFormed holds svg to XML: one root element, all of SVG's namespace, and
// nothing that is fetched from elsewhere.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	depth, roots := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
			if e.Name.Space != "http://www.w3.org/2000/svg" {
				t.Errorf("element %v", e.Name)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "href" || strings.Contains(a.Value, "url(") {
					t.Errorf("<%s> refers to %q", e.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			depth--
		}
	}
	if roots != 1 || depth != 0 {
		t.Errorf("%d root elements, depth %d", roots, depth)
	}
}

func TestSVGSays(t *testing.T) {
	all := events(10, 3)
	all[4].Payload = []byte("a <payload> & more")
	svg := written(t, lay(t, Topic{Name: "greetings"}, all).WriteSVG)
	for _, want := range []string{
		">greetings</text>", "10 events, 3 publishers", "a &lt;payload&gt; &amp; more", "prefers-color-scheme: dark",
		">…" + all[9].CID[len(all[9].CID)-shortCID:] + "</text>", ">…" + all[0].Publisher[len(all[0].Publisher)-shortPeer:] + "</text>",
		`class="head"`, "links to", ">height</text>",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q", want)
		}
	}
	// At 300 events of three publishers there is no room for every name.
	dense := written(t, lay(t, Topic{}, events(300, 3)).WriteSVG)
	if strings.Contains(dense, `class="name"`) || !strings.Contains(dense, `class="head-name"`) {
		t.Error("a dense picture names more than its heads")
	}
}

func TestWriteJSON(t *testing.T) {
	text := written(t, lay(t, Topic{Name: "t", ID: "id", Events: 5, OlderHeads: 1}, []Event{
		{CID: "b", Publisher: "p", Seq: 2, Height: 2, Time: time.Unix(0, 5), Links: []string{"a", "z"}, Payload: []byte("<x>")},
		{CID: "a", Publisher: "p", Seq: 1, Height: 1},
	}).WriteJSON)
	var got bytes.Buffer
	if err := json.Compact(&got, []byte(text)); err != nil {
		t.Fatal(err)
	}
	want := `{"topic":"t","topic_id":"id","events":5,"older_heads":1,"width":640,"height":212,` +
		`"lanes":[{"lane":0,"publisher":"p","events":2,"y":100}],"nodes":[` +
		`{"cid":"a","publisher":"p","seq":1,"height":1,"time":"0001-01-01T00:00:00Z","head":false,"lane":0,"x":150,"y":100,"preview":""},` +
		`{"cid":"b","publisher":"p","seq":2,"height":2,"time":"1970-01-01T00:00:00.000000005Z","head":true,"lane":0,"x":214,"y":100,"preview":"<x>"}],` +
		`"edges":[{"from":"b","to":"a","drawn":true},{"from":"b","to":"z","drawn":false}]}`
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
	if empty := written(t, lay(t, Topic{}, nil).WriteJSON); strings.Contains(empty, "null") {
		t.Errorf("empty: %s", empty)
	}
}

func TestLayRefuses(t *testing.T) {
	if _, err := Lay(Topic{}, make([]Event, MaxEvents+1)); err == nil {
		t.Error("too many events were drawn")
	}
	if _, err := Lay(Topic{}, []Event{{CID: "a"}, {CID: "a", Height: 2}}); err == nil {
		t.Error("two events of one CID were drawn")
	}
}

// A writer that fails is told of.
func TestWritersFail(t *testing.T) {
	l := lay(t, Topic{}, events(3, 1))
	for _, write := range []func(io.Writer) error{l.WriteSVG, l.WriteDOT, l.WriteJSON} {
		if err := write(failing{}); !errors.Is(err, errFailing) {
			t.Errorf("%v, want %v", err, errFailing)
		}
	}
}

var errFailing = errors.New("no space")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }
