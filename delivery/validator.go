package delivery

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cairn-p2p/cairn/types"
)

// Rules are the Validator of the daemon: what an event of one topic must be to be
// delivered here. The zero Rules suppress nothing. They must not change once
// they are used.
type Rules struct {
	// Allow are the only publishers whose events are delivered. Empty: everybody.
	Allow []types.Publisher
	// Deny are publishers whose events are not, whatever Allow says.
	Deny []types.Publisher
	// MaxPayload bounds the payload, in bytes. 0: only the protocol does.
	MaxPayload int
	// Tags are what an event must have, all of them.
	Tags []string
	// Schema is what the payload must satisfy. Nil: it may be any bytes.
	Schema *Schema
}

// Check implements Validator. The cheap rules come first, so that what they
// suppress is not parsed.
func (r *Rules) Check(e *types.Event) (reason string) {
	if slices.Contains(r.Deny, e.Publisher) {
		return fmt.Sprintf("publisher %s is denied", e.Publisher)
	}
	if len(r.Allow) > 0 && !slices.Contains(r.Allow, e.Publisher) {
		return fmt.Sprintf("publisher %s is not allowed", e.Publisher)
	}
	if r.MaxPayload > 0 && len(e.Payload) > r.MaxPayload {
		return fmt.Sprintf("payload of %d bytes, limit %d", len(e.Payload), r.MaxPayload)
	}
	for _, tag := range r.Tags {
		if !slices.Contains(e.Tags, tag) {
			return fmt.Sprintf("no tag %q", tag)
		}
	}
	if r.Schema == nil {
		return ""
	}
	if err := r.Schema.Check(e.Payload); err != nil {
		return cutReason("payload: " + err.Error())
	}
	return ""
}

// none reports whether the rules suppress nothing.
func (r *Rules) none() bool {
	return len(r.Allow) == 0 && len(r.Deny) == 0 && r.MaxPayload == 0 && len(r.Tags) == 0 && r.Schema == nil
}

// cutReason makes text that may quote a stranger's bytes a reason: valid UTF-8
// on one line, of at most MaxReason bytes.
func cutReason(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return '?'
		}
		return r
	}, text)
	if len(text) <= MaxReason {
		return text
	}
	const more = "…"
	end := MaxReason - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}
