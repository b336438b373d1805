// Package hostile has peers that misbehave: each has a libp2p host of its own,
// speaks the sync protocol, gossipsub and where needed the DHT, as SPEC.md has
// them, and does one of the things that no correct node does. They are for
// scenarios and tests, on networks of their user's own: a correct network bears
// them, and they are how one finds out.
//
// Nothing here is shared with the nodes that are attacked but the vocabulary of
// package types and the generated messages: a mistake in the protocol's code is
// not made a second time.
package hostile
