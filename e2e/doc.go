// Package e2e runs whole nodes together. A Scenario says how many there are,
// what is written, what goes wrong and when; Run plays it over a simulated
// network, over loopback or as processes, and holds what is left to the
// invariants with Check. Nodes are those of package node, with their data on
// disk; inside testing/synctest the same run over the simulated network takes
// virtual time. What a file holds is in docs/simulation.md.
//
// The tests also run whole nodes without a scenario, and real daemons (build tag
// process) that are killed, restarted and joined late.
package e2e
