package e2e

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/e2e/hostile"
	"github.com/cairn-p2p/cairn/node"
)

// An attack is found out to have done harm: it is not named by a node that should
// name it, did nothing, made a node accuse another, the first one too, or parted
// two.
func TestJudgeFindsHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Nodes: 3, Duration: time.Minute}
		r := newRun(s.withDefaults(), Options{}, t.TempDir())
		defer func() {
			if err := r.close(); err != nil {
				t.Error(err)
			}
		}()
		for _, h := range r.hosts {
			if err := r.open(t.Context(), h); err != nil {
				t.Fatal(err)
			}
		}
		start := func(number int, behaviour string, victims ...int) *assault {
			if err := r.attack(t.Context(), number, Fault{Kind: Byzantine, Behaviour: behaviour}, victims); err != nil {
				t.Fatal(err)
			}
			return r.assaults[len(r.assaults)-1]
		}
		judge := func(a *assault) string {
			var result Result
			if _, err := r.judge(t.Context(), a, &result); err != nil {
				t.Fatal(err)
			}
			return strings.Join(result.Wrong, "\n")
		}
		loud := start(0, "bad-witness", 0, 1)
		if wrong := judge(loud); wrong != "" {
			t.Errorf("found %q, want nothing", wrong)
		}
		loud.victims, loud.lives = append(loud.victims, 2), append(loud.lives, r.hosts[2].living()) // it never met it
		if wrong := judge(loud); wrong != "bad-witness: node 2 does not name the peer" {
			t.Errorf("found %q, want that node 2 does not name the peer", wrong)
		}
		idle := start(1, "replay", 0) // there is nothing to replay
		idle.opened[loud.attack.IDs()[0]] = 0
		idle.connected[[2]int{1, 7}] = true
		r.s.Faults = []Fault{{Kind: Byzantine}}
		wrong := judge(idle)
		for _, want := range []string{"replay: it did nothing", "node 1 accuses node 0: ", "nodes 1 and 7 are not connected any more"} {
			if !strings.Contains(wrong, want) {
				t.Errorf("found %q, want something about %q", wrong, want)
			}
		}
	})
}

// What an attack that has ended did not serve is not waited for, and it is held
// against its peer only if the nodes had the time to notice.
func TestAttackEnds(t *testing.T) {
	for _, test := range []struct {
		behaviour string
		lasts     time.Duration
		named     int
	}{{"heads-storm", 100 * time.Millisecond, 0}, {"bad-witness", 5 * time.Second, 2}, {"bad-witness", patience, 2}} {
		synctest.Test(t, func(t *testing.T) {
			r, err := Run(t.Context(), Scenario{
				Nodes: 4, Events: 100, Writers: 4, Duration: test.lasts + 5*time.Second,
				Faults: []Fault{{At: time.Second, Kind: Byzantine, Behaviour: test.behaviour, Nodes: []int{0, 1}, For: test.lasts}},
				Expect: Expect{Within: 10 * time.Second},
			}, Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Wrong) > 0 || r.Attacks[0].Named != test.named {
				t.Errorf("%s for %v: named by %d, want %d; %q", test.behaviour, test.lasts, r.Attacks[0].Named, test.named, r.Wrong)
			}
		})
	}
}

// A peak above its cap is found, and one without a cap is not.
func TestExceeded(t *testing.T) {
	r := Result{Peaks: Peaks{Heap: 1 << 60, Disk: 1 << 50, Pending: node.MaxPending, Streams: node.MaxStreams}}
	if wrong := r.exceeded(); len(wrong) > 0 {
		t.Errorf("found %q, want nothing", wrong)
	}
	r.Peaks.Pending++
	r.Peaks.Streams++
	r.DiskCap = 1
	r.Growth = 1
	r.Attacks = []AttackResult{{Streams: node.MaxPeerStreams}, {Streams: node.MaxPeerStreams + 1}}
	var names []string
	for _, w := range r.exceeded() {
		name, _, _ := strings.Cut(w, ":")
		names = append(names, name)
	}
	want := []string{"pending on a node", "streams served by a node", "disk of all nodes", "streams served to a hostile peer"}
	if !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}

// A node may hold topics of strangers only where it is told to.
func TestAdoptedTopicsAreBounded(t *testing.T) {
	for _, b := range hostile.Behaviours() {
		r := newRun(Scenario{Nodes: 1, Topics: 2, Faults: []Fault{{Kind: Byzantine, Behaviour: b.Name}}}, Options{Medium: Loopback}, "")
		want := 2
		if b.Adopts {
			want += maxAdopted
		}
		if _, limit := r.adopted(); limit != want {
			t.Errorf("%s: %d topics may be held, want %d", b.Name, limit, want)
		}
	}
}
