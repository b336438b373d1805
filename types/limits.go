package types

// Limits of rule set 1. They are part of validity, so every node of a network
// has the same ones: changing one takes a new rule set.
const (
	// MaxLinks bounds an event's links. 32 keep a body's overhead near 1.3 KiB
	// and merge a storm of heads within a few appends.
	MaxLinks = 32
	// MaxTags bounds an event's tags: each costs an index entry at every node.
	MaxTags = 16
	// MaxTagSize is the length in bytes of the longest tag.
	MaxTagSize = 64
	// MaxPayload is the size in bytes of the largest payload. It leaves half a
	// frame for the rest of the event and of the message around it.
	MaxPayload = 512 << 10
	// MaxName is the length in bytes of the longest topic name.
	MaxName = 255
	// MaxWriters bounds the writers of a restricted topic beside its owner.
	MaxWriters = 256
	// MaxGenesis is the size in bytes of the largest encoded genesis, of this
	// and every other rule set.
	MaxGenesis = 16 << 10
	// NonceSize is the length in bytes of a restricted topic's nonce.
	NonceSize = 16
	// MaxBatchWitness bounds the events signed together, and with it the
	// length of an inclusion path: 16 hashes.
	MaxBatchWitness = 65536
)

// Limits of transport and storage: they bound what one step may cost and have
// no part in validity.
const (
	// MaxFrame is the size in bytes of the largest frame of either protocol.
	MaxFrame = 1 << 20
	// MaxBatchSize is the size in bytes at which a driver closes a batch.
	// A batch holds at least one event, whatever its size.
	MaxBatchSize = 1 << 20
)

// Derived sizes.
const (
	// bodyOverhead is the size in bytes of a body without links, tags and
	// payload, numbers and lengths at their longest: the heads of the three
	// arrays (1, 2 and 1), version, kind and epoch (1 each), topic (41),
	// publisher (34), seq, height and time (9 each), payload's head (5).
	bodyOverhead = 1 + 2 + 1 + 3*1 + linkSize + 34 + 3*9 + 5
	// tagOverhead is the size in bytes of the longest head of a tag.
	tagOverhead = 2
	// MaxBody is the size in bytes of the largest valid body.
	MaxBody = bodyOverhead + MaxLinks*linkSize + MaxTags*(tagOverhead+MaxTagSize) + MaxPayload
	// witnessOverhead is the size in bytes of a batch witness without its path,
	// numbers at their longest.
	witnessOverhead = 1 + 3 + 3 + signatureSize
	// MaxWitness is the size in bytes of the largest witness.
	MaxWitness = witnessOverhead + 16*hashSize
)
