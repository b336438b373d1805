//go:build race

package e2e

// raceEnabled says that the race detector makes everything several times as
// slow.
const raceEnabled = true
