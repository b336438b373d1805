//go:build process

package e2e

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// program is the path of the program under test.
func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// One scenario, with a crash, a restart and a node that joins late, runs on all
// media, and so does one with many topics.
func TestEveryMedium(t *testing.T) {
	for _, name := range []string{"lives", "topics"} {
		s := builtin(name)
		for _, m := range []Medium{Simulated, Loopback, Processes} {
			t.Run(name+"/"+m.String(), func(t *testing.T) {
				o := Options{Medium: m, Binary: program(t)}
				if m == Simulated {
					synctest.Test(t, func(t *testing.T) { holdWith(t, s, o) })
					return
				}
				t.Parallel()
				holdWith(t, s, o)
			})
		}
	}
}

// Processes of a scenario with a DHT take part in one.
func TestProcessesHaveADHT(t *testing.T) {
	for _, dht := range []bool{false, true} {
		r := newRun(Scenario{Nodes: 1, Duration: time.Second, DHT: dht}.withDefaults(), Options{Medium: Processes, Binary: program(t)}, t.TempDir())
		r.fail = func(err error) { t.Error(err) }
		if err := r.open(t.Context(), r.hosts[0]); err != nil {
			t.Fatal(err)
		}
		args := r.hosts[0].living().node.(*process).cmd.Args
		if i := slices.Index(args, "--dht"); i < 0 || (args[i+1] == "server") != dht {
			t.Errorf("DHT %t: %q", dht, args)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
}

// What processes left on their disks is held to the invariants: an event that
// was acknowledged and is nowhere is missed, and one that only one node has.
func TestProcessesAreLookedInto(t *testing.T) {
	s := Scenario{Nodes: 2, Duration: time.Second}
	r := newRun(s.withDefaults(), Options{Medium: Processes, Binary: program(t)}, t.TempDir())
	r.fail = func(err error) { t.Error(err) }
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	// The second is opened when the first has gone, so they never meet.
	for _, h := range r.hosts {
		if err := r.open(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		topic := h.living().topics[0]
		e, err := topic.Append(t.Context(), []byte(h.name))
		if err != nil {
			t.Fatal(err)
		}
		r.acked[topic.ID()] = append(r.acked[topic.ID()], e.CID)
		if err := r.crash([]int{h.index}); err != nil {
			t.Fatal(err)
		}
	}
	var result Result
	if err := r.inspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.check(t.Context(), &result); err != nil {
		t.Fatal(err)
	}
	wrong := strings.Join(result.Wrong, "\n")
	for _, want := range []string{
		"node 0: 1 of 2 acknowledged events are missing",
		"node 1: 1 of 2 acknowledged events are missing",
		"node 1: heads hash",
	} {
		if !strings.Contains(wrong, want) {
			t.Errorf("found %q, want something about %q", wrong, want)
		}
	}
	if result.Events != 1 {
		t.Errorf("%d events on the first node, want its own", result.Events)
	}
}

// A process that ends though nobody wanted it to ends the run, which says so.
func TestProcessEndsByItself(t *testing.T) {
	s := Scenario{Nodes: 2, Events: 100, Duration: 10 * time.Second}
	r := newRun(s.withDefaults(), Options{Medium: Processes, Binary: program(t)}, t.TempDir())
	r.o.Progress = func(Progress) {
		r.hosts[1].living().node.(*process).cmd.Process.Kill() //nolint:errcheck // the second time it has gone
	}
	_, err := r.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "node 1 ended by itself: signal: killed; it said last:\n") || !strings.Contains(err.Error(), "msg=ready") {
		t.Errorf("%v, want that node 1 was killed, and its log", err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	_, err = Run(t.Context(), s, Options{Medium: Processes, Binary: "/bin/false", Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "node 0") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("%v, want that node 0 did not start", err)
	}
}
