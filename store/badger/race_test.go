//go:build race

package badger

// raceEnabled says that the race detector makes everything several times as
// slow: the largest tests are smaller with it. make full runs them as they are.
const raceEnabled = true
