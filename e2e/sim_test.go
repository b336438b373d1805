package e2e

import (
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
)

// simulate runs a scenario in virtual time, and holds it to its invariants.
// CAIRN_TEST_LOG set to anything shows what the nodes log.
func simulate(t *testing.T, s Scenario) {
	synctest.Test(t, func(t *testing.T) {
		hold(t, s, Simulated)
	})
}

// hold runs a scenario, and holds it to its invariants.
func hold(t *testing.T, s Scenario, m Medium) {
	t.Helper()
	o := Options{Medium: m, Dir: t.TempDir(), Progress: func(p Progress) {
		if p.Fault != "" {
			t.Logf("%v: %s, %d events", p.At, p.Fault, p.Events)
		}
	}}
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	for _, w := range r.Wrong {
		t.Error(w)
	}
	if r.Acknowledged != s.Events {
		t.Errorf("%d events acknowledged, want %d", r.Acknowledged, s.Events)
	}
}

func TestBuiltin(t *testing.T) {
	for _, s := range Builtin() {
		t.Run(s.Name, func(t *testing.T) { simulate(t, s) })
	}
}
