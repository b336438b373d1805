package delivery

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/cairn-p2p/cairn/types"
)

// Token names one delivery of one event by one consumer.
type Token struct {
	Epoch   uint64 // of the consumer: drawn when it is made, and at each reset
	Number  uint64 // of the event in the delivery log
	Attempt uint64 // how often the event has been delivered, this time included; requeueing does not set it back
	// Hash begins the running hash of the log after the event: in a node whose data
	// was restored from a copy, another event may have the number.
	Hash [4]byte
}

// tokenPrefix keeps a token's text from beginning with a dash.
const tokenPrefix = "k"

// String returns the URL-safe text of the token. It begins with a letter.
func (t Token) String() string {
	b := binary.BigEndian.AppendUint64(nil, t.Epoch)
	b = append(b, t.Hash[:]...)
	b = binary.AppendUvarint(b, t.Number)
	b = binary.AppendUvarint(b, t.Attempt)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// fixedToken is the length in bytes of what stands before the varints.
const fixedToken = 8 + 4

// maxToken is the length of the longest text of a token.
const maxToken = 1 + (fixedToken+2*binary.MaxVarintLen64)*4/3 + 1

// ParseToken reads the text of a token. The error is types.ErrInvalidArgument.
func ParseToken(s string) (Token, error) {
	bad := fmt.Errorf("%w: %.*q is not a token", types.ErrInvalidArgument, maxToken, s)
	if len(s) < len(tokenPrefix) || len(s) > maxToken || s[:len(tokenPrefix)] != tokenPrefix {
		return Token{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s[len(tokenPrefix):])
	if err != nil || len(b) < fixedToken {
		return Token{}, bad
	}
	t := Token{Epoch: binary.BigEndian.Uint64(b), Hash: [4]byte(b[8:])}
	n := fixedToken
	for _, field := range []*uint64{&t.Number, &t.Attempt} {
		v, k := binary.Uvarint(b[n:])
		if k <= 0 {
			return Token{}, bad
		}
		*field, n = v, n+k
	}
	if t.String() != s { // trailing bytes, varints that are not the shortest, line breaks
		return Token{}, bad
	}
	return t, nil
}
