package delivery

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Limits of Settings.
const (
	// MaxName is the length in bytes of the longest name.
	MaxName = 64
	// MaxTags and MaxPublishers bound a filter, which every event is held to.
	MaxTags       = 64
	MaxPublishers = 256
	// MaxBackOff bounds the delays of BackOff.
	MaxBackOff = 64
	// MaxPendingLimit bounds MaxPending: what waits for an acknowledgement lies
	// above the ack floor.
	MaxPendingLimit = MaxAhead
	// MaxDeliverLimit bounds MaxDeliver.
	MaxDeliverLimit = 1 << 30
)

// Defaults of Settings.
const (
	DefaultAckWait    = 30 * time.Second
	DefaultMaxPending = 1024
)

// Settings say what a consumer is. They never change.
type Settings struct {
	// Name has 1 to 64 bytes of [A-Za-z0-9._-], not beginning with '-' or '.'.
	Name  string
	Topic types.TopicID
	// Tags: an event matches if it has any of them. Empty: every event does.
	Tags []string
	// Publishers: an event matches if it is of any of them, too. Empty: of
	// anybody.
	Publishers []types.Publisher
	// From is where the consumer begins.
	From Start
	// AckWait is how long after its delivery an event that is not settled is
	// delivered again, in whole milliseconds; 0: 30 s.
	AckWait time.Duration
	// MaxPending bounds the events that are delivered and not settled: at that
	// many nothing new is delivered. 0: 1,024, at most 65,536.
	MaxPending int
	// MaxDeliver is how often an event is delivered before it goes to the dead
	// letters; 0: unlimited.
	MaxDeliver int
	// BackOff takes the place of AckWait: the n-th is the time from the n-th
	// delivery to the next. The last repeats.
	BackOff []time.Duration
	// CausalAcks holds an event back until every ancestor that matches is
	// settled.
	CausalAcks bool
}

// Start is where a consumer begins. The zero Start is the log's start.
type Start struct {
	Now    bool         // behind the events that are here already
	Cursor types.Cursor // behind this position, unless Now
}

// Texts of a Start; any other is a cursor's.
const (
	startText = "start"
	nowText   = "now"
)

// String returns the text of s.
func (s Start) String() string {
	switch {
	case s.Now:
		return nowText
	case s.Cursor == types.Cursor{}:
		return startText
	}
	return s.Cursor.String()
}

// ParseStart reads "start", which is the meaning of "" too, "now" or the text
// of a cursor. The error is types.ErrInvalidCursor.
func ParseStart(s string) (Start, error) {
	switch s {
	case startText, "":
		return Start{}, nil
	case nowText:
		return Start{Now: true}, nil
	}
	c, err := types.ParseCursor(s)
	return Start{Cursor: c}, err
}

// Validate reports what is wrong with the settings. The error is
// types.ErrInvalidArgument.
func (s *Settings) Validate() error {
	if err := s.check(); err != nil {
		return fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
	}
	return nil
}

func (s *Settings) check() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if !s.Topic.Defined() {
		return fmt.Errorf("no topic")
	}
	if len(s.Tags) > MaxTags {
		return fmt.Errorf("%d tags, limit %d", len(s.Tags), MaxTags)
	}
	for _, tag := range s.Tags {
		if err := types.CheckTags([]string{tag}); err != nil {
			return err
		}
	}
	if len(s.Publishers) > MaxPublishers {
		return fmt.Errorf("%d publishers, limit %d", len(s.Publishers), MaxPublishers)
	}
	if s.From.Now && s.From.Cursor != (types.Cursor{}) {
		return fmt.Errorf("from now and from a cursor")
	}
	if s.AckWait != 0 {
		if err := checkDelay("ack wait", s.AckWait); err != nil {
			return err
		}
	}
	if s.MaxPending < 0 || s.MaxPending > MaxPendingLimit {
		return fmt.Errorf("max pending %d, limit %d", s.MaxPending, MaxPendingLimit)
	}
	if s.MaxDeliver < 0 || s.MaxDeliver > MaxDeliverLimit {
		return fmt.Errorf("max deliver %d, limit %d", s.MaxDeliver, MaxDeliverLimit)
	}
	if len(s.BackOff) > MaxBackOff {
		return fmt.Errorf("%d delays of back-off, limit %d", len(s.BackOff), MaxBackOff)
	}
	for _, d := range s.BackOff {
		if err := checkDelay("back-off", d); err != nil {
			return err
		}
	}
	return nil
}

// CheckName reports why no consumer can have the name.
func CheckName(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	if name == "" || len(name) > MaxName || name[0] == '-' || name[0] == '.' || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("name %.*q: want 1 to %d letters, digits, '.', '_' or '-', not beginning with '-' or '.'", MaxName+1, name, MaxName)
	}
	return nil
}

// checkDelay holds a time to what a record can say.
func checkDelay(what string, d time.Duration) error {
	if d < time.Millisecond || d > MaxDelay {
		return fmt.Errorf("%s %v, want 1ms to %v", what, d, MaxDelay)
	}
	return nil
}

// normal returns the settings with defaults filled in, in the one form that
// equal settings share.
func (s Settings) normal() Settings {
	s.Tags = unique(s.Tags, strings.Compare)
	s.Publishers = unique(s.Publishers, func(a, b types.Publisher) int { return bytes.Compare(a[:], b[:]) })
	s.AckWait = cmp.Or(s.AckWait, DefaultAckWait).Truncate(time.Millisecond)
	s.MaxPending = cmp.Or(s.MaxPending, DefaultMaxPending)
	s.BackOff = slices.Clone(s.BackOff)
	for i, d := range s.BackOff {
		s.BackOff[i] = d.Truncate(time.Millisecond)
	}
	return s
}

// unique returns a sorted copy without repetitions.
func unique[E any](list []E, compare func(a, b E) int) []E {
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	return slices.CompactFunc(list, func(a, b E) bool { return compare(a, b) == 0 })
}

// matches reports whether an event passes the filter.
func (s *Settings) matches(e *types.Event) bool {
	if len(s.Publishers) > 0 && !slices.Contains(s.Publishers, e.Publisher) {
		return false
	}
	return len(s.Tags) == 0 || slices.ContainsFunc(e.Tags, func(tag string) bool { return slices.Contains(s.Tags, tag) })
}

// delay is the time from the count-th delivery of an event to the next.
func (s *Settings) delay(count int) time.Duration {
	if len(s.BackOff) == 0 {
		return s.AckWait
	}
	return s.BackOff[min(count, len(s.BackOff))-1]
}
