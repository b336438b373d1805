//go:build race

package syncer_test

// underRace: the race detector makes everything several times as slow, so the
// largest tests are smaller with it. make full runs them as they are.
const underRace = true
