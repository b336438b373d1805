package node

import (
	"strings"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairn-p2p/cairn/broadcaster/gossip"
)

// kind is a type of metric.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// definition is what a metric is called and means. docs/metrics.md is made of
// them.
type definition struct {
	name string
	kind kind
	help string
	// labels come with all values that they can have. None names a peer, a
	// publisher, a topic or a CID: others could make as many of those as they
	// like.
	labels []label
	// buckets are the upper bounds of a histogram, in seconds.
	buckets []float64
}

type label struct {
	name   string
	values []string
}

// The names of the metrics.
const (
	eventsTotal         = "cairn_events_total"
	rejectedTotal       = "cairn_events_rejected_total"
	leftToSync          = "cairn_events_left_to_sync_total"
	pendingEvents       = "cairn_pending_events"
	missingEvents       = "cairn_missing_events"
	oldestMissing       = "cairn_oldest_missing_seconds"
	topicCount          = "cairn_topics"
	headCount           = "cairn_heads"
	appendSeconds       = "cairn_append_seconds"
	verifySeconds       = "cairn_verify_seconds"
	commitSeconds       = "cairn_commit_seconds"
	syncSeconds         = "cairn_sync_seconds"
	syncFailures        = "cairn_sync_failures_total"
	syncBytes           = "cairn_sync_bytes_total"
	syncEvents          = "cairn_sync_events_total"
	peerCount           = "cairn_peers"
	gossipMessages      = "cairn_gossip_messages_total"
	gossipNewEvents     = "cairn_gossip_new_events_total"
	gossipPublished     = "cairn_gossip_published_total"
	gossipPublishedSize = "cairn_gossip_published_events_total"
	gossipHeadsOnly     = "cairn_gossip_heads_only_total"
	gossipCoalesced     = "cairn_gossip_coalesced_events_total"
	gossipDropped       = "cairn_gossip_dropped_events_total"
	gossipFailed        = "cairn_gossip_publish_failures_total"
	gossipsubNeighbours = "cairn_gossipsub_neighbours"
	gossipsubMesh       = "cairn_gossipsub_mesh_changes_total"
	gossipsubFrames     = "cairn_gossipsub_frames_total"
	gossipsubBytes      = "cairn_gossipsub_frame_bytes_total"
	gossipsubMessages   = "cairn_gossipsub_messages_total"
	subscriberCount     = "cairn_subscribers"
	subscriberLag       = "cairn_subscriber_lag_events"
	consumerCount       = "cairn_consumers"
	consumersInUse      = "cairn_consumers_in_use"
	consumerDeliveries  = "cairn_consumer_deliveries_total"
	consumerSettled     = "cairn_consumer_settled_total"
	consumerDead        = "cairn_consumer_dead_letters_total"
	consumerSuppressed  = "cairn_consumer_suppressed_total"
	consumerRefused     = "cairn_consumer_refused_tokens_total"
	lightStreams        = "cairn_light_client_streams"
	storeBytes          = "cairn_store_bytes"
	storeReclaimed      = "cairn_store_reclaimed_bytes_total"
)

// Values of labels.
const (
	inbound  = "in"
	outbound = "out"
	dropped  = "dropped"

	needed    = "needed"
	redundant = "redundant"

	firstTime = "first"
	laterTime = "again"

	acked      = "ack"
	terminated = "term"

	own     = "own"
	relayed = "relayed"

	accepted  = "accept"
	ignored   = "ignore"
	rejected  = "reject"
	noReason  = "none"
	otherwise = "other"
)

// definitions returns every metric of this program, in the order of the
// document.
func definitions() []definition {
	return append(append(replicaDefinitions(), gossipDefinitions()...), localDefinitions()...)
}

func replicaDefinitions() []definition {
	return []definition{
		{name: eventsTotal, kind: counter, help: "Events that became durable here, by what had them integrated.", labels: []label{{"source", eventSources()}}},
		{name: rejectedTotal, kind: counter, help: "Events that were not taken. The unlinked ones came by sync before their links; they are asked for again. Gossip messages that are refused as a whole are counted in " + gossipMessages + " too, or there alone.", labels: []label{{"reason", rejectionNames()}}},
		{name: leftToSync, kind: counter, help: "Events from gossip that were let go of: the topic's inbox was full, they waited for links too long or too many, a commit failed, the topic is paused, or it was to be adopted and could not be at once. A sync brings those that are still missing, of a paused topic once it goes on.", labels: []label{{"reason", leftNames()}}},
		{name: pendingEvents, kind: gauge, help: "Events from gossip whose links are not all integrated."},
		{name: missingEvents, kind: gauge, help: "Events that are known of and not integrated here: heads that replicas claim, and up to 100 links a topic that pending events wait for."},
		{name: oldestMissing, kind: gauge, help: "How long ago the longest missing event was noticed, in seconds; 0 when nothing is missing."},
		{name: topicCount, kind: gauge, help: "Topics held here, by state; those that were left are paused. The unsupported ones are known, and not held.", labels: []label{{"state", topicStates()}}},
		{name: headCount, kind: gauge, help: "Heads of all topics held here."},
		{name: appendSeconds, kind: histogram, help: "Time from a call to append events until all were durable or one failed.", buckets: localBuckets()},
		{name: commitSeconds, kind: histogram, help: "Time of the store's commits, by the groups of events that one topic had ready.", buckets: localBuckets()},
		{name: verifySeconds, kind: histogram, help: "Time to check the witnesses of a group of events that came from a peer.", buckets: localBuckets()},
		{name: syncSeconds, kind: histogram, help: "Time of the transfers that fetched missing events from a peer and ended well.", buckets: syncBuckets()},
		{name: syncFailures, kind: counter, help: "Transfers of missing events that ended with an error."},
		{name: syncBytes, kind: counter, help: "Bytes of the sync protocol, requests and answers alike.", labels: []label{{"direction", []string{inbound, outbound}}}},
		{name: syncEvents, kind: counter, help: "Events that came by sync; the redundant ones were here already when they came.", labels: []label{{"use", []string{needed, redundant}}}},
		{name: peerCount, kind: gauge, help: "Connected peers."},
	}
}

func gossipDefinitions() []definition {
	return []definition{
		{name: gossipMessages, kind: counter, help: "Neighbours' gossip messages that were checked, by what became of them.", labels: []label{{"result", []string{accepted, ignored, rejected}}, {"reason", gossipReasons()}}},
		{name: gossipNewEvents, kind: counter, help: "Events in neighbours' gossip messages that were new here."},
		{name: gossipPublished, kind: counter, help: "Gossip messages of this node."},
		{name: gossipPublishedSize, kind: counter, help: "Events in the gossip messages of this node."},
		{name: gossipHeadsOnly, kind: counter, help: "Gossip messages of this node that had heads and no events."},
		{name: gossipCoalesced, kind: counter, help: "Events of this node of which only the heads were announced, because too many waited."},
		{name: gossipDropped, kind: counter, help: "Events in frames that were dropped because a neighbour's queue was full, once for each such neighbour, which gets them by sync or from others. The heads of this node's own ones are announced again.", labels: []label{{"origin", []string{own, relayed}}}},
		{name: gossipFailed, kind: counter, help: "Gossip messages of this node that gossipsub refused; their heads are announced again."},
		{name: gossipsubNeighbours, kind: gauge, help: "Peers that gossipsub has a stream to."},
		{name: gossipsubMesh, kind: counter, help: "Changes of gossipsub's meshes.", labels: []label{{"change", []string{grafted, pruned}}}},
		{name: gossipsubFrames, kind: counter, help: "Gossipsub's frames, control frames included; dropped are those whose neighbour's queue was full.", labels: []label{{"direction", []string{inbound, outbound, dropped}}}},
		{name: gossipsubBytes, kind: counter, help: "Bytes of gossipsub's frames.", labels: []label{{"direction", []string{inbound, outbound}}}},
		{name: gossipsubMessages, kind: counter, help: "Messages that reached gossipsub, by what it did with them.", labels: []label{{"outcome", gossipsubOutcomes()}}},
	}
}

func localDefinitions() []definition {
	return []definition{
		{name: subscriberCount, kind: gauge, help: "Subscriptions that are open."},
		{name: subscriberLag, kind: gauge, help: "Events that the slowest subscription has still to be given."},
		{name: consumerCount, kind: gauge, help: "Durable consumers."},
		{name: consumersInUse, kind: gauge, help: "Durable consumers of which the state is in memory: those that somebody used in the last minute."},
		{name: consumerDeliveries, kind: counter, help: "Events handed out by consumers, for the first time or again.", labels: []label{{"time", []string{firstTime, laterTime}}}},
		{name: consumerSettled, kind: counter, help: "Events that subscribers acknowledged or gave up.", labels: []label{{"kind", []string{acked, terminated}}}},
		{name: consumerDead, kind: counter, help: "Events that became dead letters: delivered too often, or given up with a reason."},
		{name: consumerSuppressed, kind: counter, help: "Events that validators kept from consumers, once for each consumer."},
		{name: consumerRefused, kind: counter, help: "Tokens of consumers that were refused: stale, settled or unknown."},
		{name: lightStreams, kind: gauge, help: "Streams that a broker serves to light clients over libp2p."},
		{name: storeBytes, kind: gauge, help: "Bytes that the store takes."},
		{name: storeReclaimed, kind: counter, help: "Bytes on disk that the store has given back."},
	}
}

// localBuckets are for what a disk and a few cores take: from 100 µs to 6.5 s.
func localBuckets() []float64 { return prometheus.ExponentialBuckets(0.0001, 2, 17) }

// syncBuckets are for what a network takes: from 1 ms to 17 min.
func syncBuckets() []float64 { return prometheus.ExponentialBuckets(0.001, 4, 11) }

func eventSources() []string { return []string{"append", "gossip", "sync"} }

// topicStates are the states of a Status.
func topicStates() []string {
	return []string{Synced, Syncing, Behind, Stalled, Alone, Paused, Unsupported}
}

// gossipReasons are the values of the reason of a gossip message.
func gossipReasons() []string {
	names := []string{noReason}
	for _, r := range gossip.Reasons() {
		names = append(names, gossipReason(r))
	}
	return names
}

func gossipReason(r gossip.Reason) string { return strings.ReplaceAll(r.String(), " ", "_") }

// gossipsubOutcomes are the words for what gossipsub does with a message.
func gossipsubOutcomes() []string {
	return append([]string{delivered, duplicate, otherwise}, gossipsubRefusals()...)
}

// gossipsubRefusals are gossipsub's reasons to refuse a message that can occur
// here, with underscores for spaces.
func gossipsubRefusals() []string {
	var words []string
	for _, r := range []string{
		pubsub.RejectUnexpectedSignature, pubsub.RejectUnexpectedAuthInfo, pubsub.RejectValidationQueueFull,
		pubsub.RejectValidationThrottled, pubsub.RejectValidationFailed, pubsub.RejectValidationIgnored,
		pubsub.RejectSelfOrigin,
	} {
		words = append(words, gossipsubRefusal(r))
	}
	return words
}

func gossipsubRefusal(reason string) string { return strings.ReplaceAll(reason, " ", "_") }
