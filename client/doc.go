// Package client is a light client: it reads topics and publishes to them
// through a broker, which holds them, and keeps no replica. It does not trust the
// broker. Whatever comes is verified here, event by event: its encoding, witness,
// topic and publisher, and that it comes after its links. What it publishes it
// signs with a key of its own, in a way that never gives one seq to two events.
//
// A broker is reached over libp2p with Dial, or over a node's API. One that breaks
// a rule ends the call with a *Violation, which carries the evidence.
package client
