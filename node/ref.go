package node

import (
	"fmt"
	"strings"

	"github.com/cairn-p2p/cairn/types"
)

// idPrefix begins a reference to a topic by its id; no name may begin with it.
const idPrefix = "id:"

// TopicRef names a topic: the open topic of a name, or any topic by its id.
type TopicRef struct {
	ID   types.TopicID
	open *types.Genesis // nil for a reference by id
}

// ParseTopicRef reads a topic's name, or "id:" and a topic's id. The error is
// types.ErrInvalidArgument.
func ParseTopicRef(s string) (TopicRef, error) {
	if text, ok := strings.CutPrefix(s, idPrefix); ok {
		id, err := types.ParseCID(text)
		if err != nil {
			return TopicRef{}, fmt.Errorf("topic %q: %w", s, err)
		}
		return TopicRef{ID: id}, nil
	}
	g, err := types.NewOpen(s)
	if err != nil {
		return TopicRef{}, fmt.Errorf("topic %q: %w", s, err)
	}
	return TopicRef{ID: g.ID(), open: g}, nil
}
