//go:build long

package e2e

import (
	"cmp"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestHostileBig runs the storms in real time at their full size, or at that of
// CAIRN_HOSTILE: how many heads or orphans.
func TestHostileBig(t *testing.T) {
	count, err := strconv.Atoi(cmp.Or(os.Getenv("CAIRN_HOSTILE"), "1000000"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range hostileCases() {
		if s.Name != "heads-storm" && s.Name != "orphans" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			s.Faults[0].Count = count
			s.Duration = 30 * time.Second
			s.Expect.Within = 30 * time.Minute
			hold(t, s, Loopback)
		})
	}
}
