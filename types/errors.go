package types

import "errors"

// Errors that callers branch on. They are wrapped with what went wrong; test
// for them with errors.Is.
var (
	// ErrInvalidEvent: the event breaks a rule of its topic and always will.
	ErrInvalidEvent = errors.New("invalid event")
	// ErrBadWitness: the witness does not prove the event. It says nothing
	// about the event's CID.
	ErrBadWitness = errors.New("bad witness")
	// ErrInvalidGenesis: the bytes are no genesis, or one that breaks a rule.
	ErrInvalidGenesis = errors.New("invalid genesis")
	// ErrUnsupported: a rule set or mode that this release does not know.
	ErrUnsupported = errors.New("unsupported topic")
	// ErrNotWriter: the publisher may not publish to this restricted topic.
	ErrNotWriter = errors.New("publisher is not a writer of the topic")
	// ErrUnlinked: an event whose links are neither integrated nor earlier in
	// the same answer.
	ErrUnlinked = errors.New("event with links that are not integrated")

	// ErrInvalidArgument: a name, tag, payload or option outside its limits.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrNotFound: no such event or topic here.
	ErrNotFound = errors.New("not found")
	// ErrInvalidCursor: a cursor that is malformed, of another topic or node,
	// or of a delivery log that has been replaced since.
	ErrInvalidCursor = errors.New("invalid cursor")
	// ErrRelay: the node is a relay, which keeps no topic.
	ErrRelay = errors.New("the node is a relay and keeps no topic")
	// ErrClosed: the object was closed.
	ErrClosed = errors.New("closed")

	// ErrConflict: a batch that does not continue the delivery log.
	ErrConflict = errors.New("batch does not continue the log")
	// ErrStore: the store failed; what was asked may or may not be durable.
	ErrStore = errors.New("store failed")
	// ErrDiskFull: the disk has less than the configured minimum of free space.
	ErrDiskFull = errors.New("disk is below its minimum of free space")
	// ErrCorrupt: the database, or a light client's file, holds bytes that it should
	// never hold.
	ErrCorrupt = errors.New("stored data is corrupt")
	// ErrLocked: another process uses the data directory, or a light client's file.
	ErrLocked = errors.New("locked")
	// ErrNewerFormat: the database was written by a newer release.
	ErrNewerFormat = errors.New("database has a newer format")
	// ErrWrongNetwork: the data directory belongs to another network.
	ErrWrongNetwork = errors.New("data directory belongs to another network")
	// ErrIdentity: the identity key is missing beside data, or unreadable.
	ErrIdentity = errors.New("unusable identity")

	// ErrRolledBack: this node's own later events came back from the network,
	// so its database is an old copy: appends wait until it has caught up.
	ErrRolledBack = errors.New("replica was rolled back and has not caught up")
	// ErrForkedKey: two nodes publish with this node's key: appends are refused.
	ErrForkedKey = errors.New("another node publishes with this key")
)

// What is wrong with bytes; callers see it inside one of the errors above.
var (
	errNotCanonical = errors.New("encoding is not canonical")
	errNotLink      = errors.New("not a link to a CIDv1 of dag-cbor and sha2-256")
	errNotCID       = errors.New("not a CIDv1 of dag-cbor and sha2-256")
)
