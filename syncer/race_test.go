//go:build race

package syncer_test

// underRace: the race detector makes this run several times slower.
const underRace = true
