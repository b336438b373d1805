package types

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/ipfs/go-cid"
)

// LogID names a node's delivery logs. It is random and changes when the
// database is imported or rebuilt.
type LogID [16]byte

// Cursor is a position in the delivery log of one topic on one node: after the
// first Number events, whose order the hash pins. The zero Cursor stands for the
// start of any log.
type Cursor struct {
	Number uint64  // events before the position
	Hash   [8]byte // the first bytes of the running hash at the position
}

// cursorPrefix keeps a cursor's text from beginning with a dash.
const cursorPrefix = "c"

// String returns the URL-safe text of the cursor. It never begins with a dash.
func (c Cursor) String() string {
	b := append(binary.AppendUvarint(nil, c.Number), c.Hash[:]...)
	return cursorPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads the text of a cursor. The error is ErrInvalidCursor.
func ParseCursor(s string) (Cursor, error) {
	bad := fmt.Errorf("%w: %q is not a cursor", ErrInvalidCursor, s)
	if len(s) < len(cursorPrefix) || s[:len(cursorPrefix)] != cursorPrefix {
		return Cursor{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s[len(cursorPrefix):])
	if err != nil {
		return Cursor{}, bad
	}
	n, k := binary.Uvarint(b)
	if k <= 0 || len(b) != k+8 || k > 1 && b[k-1] == 0 {
		return Cursor{}, bad
	}
	c := Cursor{Number: n, Hash: [8]byte(b[k:])}
	if c.String() != s { // base64 reads over line breaks
		return Cursor{}, bad
	}
	return c, nil
}

// RunningHash is the state of the hash over a delivery log.
type RunningHash Hash

// StartHash is the running hash of the empty log of topic on the node whose
// log id is id.
func StartHash(id LogID, topic TopicID) RunningHash {
	b := append([]byte("cairn/log/1\x00"), id[:]...)
	return sha256.Sum256(append(b, topic.KeyString()...))
}

// Next is the running hash after one more event.
func (h RunningHash) Next(c cid.Cid) RunningHash {
	var b [hashSize + CIDSize]byte
	copy(b[:], h[:])
	copy(b[hashSize:], c.KeyString())
	return sha256.Sum256(b[:])
}

// Cursor is the position after number events, at which h is the running hash.
func (h RunningHash) Cursor(number uint64) Cursor {
	return Cursor{Number: number, Hash: [8]byte(h[:8])}
}
