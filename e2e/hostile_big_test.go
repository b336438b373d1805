package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// The storms at their full size, on demand: CAIRN_HOSTILE names how many events,
// CAIRN_HOSTILE_CASE which of the cases.
func TestHostileBig(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("CAIRN_HOSTILE"))
	if err != nil {
		t.Skip("set CAIRN_HOSTILE to a number of events")
	}
	for _, s := range hostileCases() {
		if s.Name != os.Getenv("CAIRN_HOSTILE_CASE") {
			continue
		}
		s.Faults[0].Count = count
		s.Duration = 30 * time.Second
		s.Expect.Within = 30 * time.Minute
		hold(t, s, Loopback)
	}
}
