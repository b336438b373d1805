package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/cairn-p2p/cairn/e2e/hostile"
)

// Correct nodes bear every kind of hostile peer: they converge among themselves,
// integrate nothing that was forged, name the offender where there is proof, cut
// off nobody who is correct, and stay within their caps.
func TestHostile(t *testing.T) {
	for i, s := range hostileCases() {
		if skipsWithRace(i) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) { simulate(t, s) })
	}
}

// Every behaviour is in docs/simulation.md.
func TestBehavioursDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range hostile.Behaviours() {
		row := "| `" + b.Name + "` | " + strings.TrimSuffix(b.About, ".") + " |"
		if !strings.Contains(string(text), row) {
			t.Errorf("no row %q", row)
		}
	}
}
