// Package e2e tests whole nodes together: over real libp2p on loopback in one
// process, and as real daemons (build tag process) that are killed, restarted
// and joined late.
package e2e
