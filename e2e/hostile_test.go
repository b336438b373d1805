package e2e

import "testing"

// Correct nodes bear every kind of hostile peer: they converge among themselves,
// integrate nothing that was forged, name the offender where there is proof, cut
// off nobody who is correct, and stay within their caps.
func TestHostile(t *testing.T) {
	for _, s := range hostileCases() {
		t.Run(s.Name, func(t *testing.T) { simulate(t, s) })
	}
}
