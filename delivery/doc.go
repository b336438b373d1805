// Package delivery gives the events of a topic's delivery log to subscribers
// that come and go: durable consumers, whose model is that of NATS JetStream,
// with the causal order that it lacks.
//
// A Consumer is a named place in one topic's delivery log. It hands out the
// events that match its filter, first in the order of the log, which is causal,
// remembers which were acknowledged, and hands out again those that were not
// in time. What it remembers is in the store: it survives kill -9. An event
// is delivered at least once. Who cannot bear to see one twice
// remembers its CID.
//
// With Settings.CausalAcks an event is handed out only when every ancestor of
// it that matches the filter is settled: acknowledged, terminated or dead.
// Concurrent events still flow side by side.
//
// A Validator is the second layer of validity: it suppresses events here which
// stay in the DAG, and are served to other nodes as evidence.
package delivery
