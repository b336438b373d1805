package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// keyState is what is in FILE.state: where a key stands in each topic.
type keyState struct {
	Version   int                    `json:"version"`
	Publisher string                 `json:"publisher"`
	Topics    map[string]*topicState `json:"topics"` // by id
}

// topicState is where a key stands in one topic.
type topicState struct {
	Spent   uint64     `json:"spent"`              // the greatest seq that was signed: none up to it is used again
	Last    ownEvent   `json:"last"`               // the last event that was acknowledged or adopted; Seq 0: none
	AckedBy string     `json:"acked_by,omitempty"` // the broker that acknowledged it
	Kept    []rawEvent `json:"kept,omitempty"`     // the last events that were acknowledged, for a broker that lacks them
	Unsent  []rawEvent `json:"unsent,omitempty"`   // signed and not acknowledged
}

type ownEvent struct {
	Seq    uint64 `json:"seq"`
	CID    string `json:"cid"`
	Height uint64 `json:"height"`
}

type rawEvent struct {
	Body    []byte `json:"body"`
	Witness []byte `json:"witness"`
}

func rawEvents(events []*types.Event) []rawEvent {
	var raws []rawEvent
	for _, e := range events {
		raws = append(raws, rawEvent{e.Bytes(), e.Witness})
	}
	return raws
}

// loadState reads a state file. One that is not there is that of a key that was
// never used; one that is not as this program writes it is types.ErrCorrupt.
func loadState(path string, self types.Publisher) (*keyState, error) {
	empty := &keyState{Version: stateVersion, Publisher: self.String(), Topics: map[string]*topicState{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return nil, err
	}
	s := new(keyState)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", types.ErrCorrupt, path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s goes on behind its end", types.ErrCorrupt, path)
	}
	if err := s.check(self); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", types.ErrCorrupt, path, err)
	}
	return s, nil
}

func (s *keyState) check(self types.Publisher) error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d, want %d", s.Version, stateVersion)
	}
	if s.Publisher != self.String() {
		return fmt.Errorf("it is of the key %s, not of %s", s.Publisher, self)
	}
	for topic, t := range s.Topics {
		id, err := types.ParseCID(topic)
		if err == nil && t == nil {
			err = errors.New("it is empty")
		}
		if err == nil {
			err = t.check(id, self)
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return nil
}

func (t *topicState) check(topic types.TopicID, self types.Publisher) error {
	if t.Last.Seq > t.Spent {
		return fmt.Errorf("last seq %d above the greatest spent, %d", t.Last.Seq, t.Spent)
	}
	if _, err := types.ParseCID(t.Last.CID); t.Last.Seq > 0 && (err != nil || t.Last.Height == 0) {
		return fmt.Errorf("last event %q of height %d", t.Last.CID, t.Last.Height)
	}
	for _, list := range [][]rawEvent{t.Kept, t.Unsent} {
		events, err := t.events(list)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Topic != topic || e.Publisher != self || e.Seq > t.Spent {
				return fmt.Errorf("event %s is not of the key and topic, or has seq %d above %d", e.CID, e.Seq, t.Spent)
			}
		}
	}
	return nil
}

func (t *topicState) events(list []rawEvent) ([]*types.Event, error) {
	var events []*types.Event
	for _, raw := range list {
		e, err := types.DecodeEvent(raw.Body, raw.Witness)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// What is kept of acknowledged events: the last one always.
const (
	keptEvents = 32
	keptSize   = 256 << 10
)

// acknowledge moves what was unsent to what is kept.
func (t *topicState) acknowledge(events []*types.Event, by string) {
	last := events[len(events)-1]
	t.Last, t.AckedBy = ownEvent{last.Seq, last.CID.String(), last.Height}, by
	t.Kept = append(t.Kept, t.Unsent...)
	t.Unsent = nil
	from, size := len(t.Kept), 0
	for from > 0 && len(t.Kept)-from < keptEvents {
		next := len(t.Kept[from-1].Body) + len(t.Kept[from-1].Witness)
		if size > 0 && size+next > keptSize {
			break
		}
		from--
		size += next
	}
	t.Kept = t.Kept[from:]
}

// save makes the state durable.
func (s *keyState) save(path string) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = keyfile.Replace(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
