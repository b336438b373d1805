package delivery

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

func TestTokenText(t *testing.T) {
	for _, token := range []Token{{}, {1, 2, 3, [4]byte{4}}, {math.MaxUint64, math.MaxUint64, math.MaxUint64, [4]byte{255, 255, 255, 255}}, {0xfb << 56, 62, 63, [4]byte{}}} {
		text := token.String()
		if got, err := ParseToken(text); err != nil || got != token {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, token)
		}
		if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || text[0] != 'k' || len(text) > maxToken {
			t.Errorf("token is %q", text)
		}
	}
	good := Token{1, 2, 3, [4]byte{4}}.String()
	for _, bad := range []string{"", "k", "-", good[1:], good + "A", good[:len(good)-1], good + "\n", "k" + strings.Repeat("A", 1000), "kAAAAAAAAAAGCAAE"} {
		if _, err := ParseToken(bad); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add(Token{1, 300, 2, [4]byte{4}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil && token.String() != s {
			t.Errorf("%q is read and written as %q", s, token)
		}
	})
}

func someSettings(t failer) Settings {
	g, err := types.NewOpen("topic")
	must(t, err)
	return Settings{
		Name: "some", Topic: g.ID(), Tags: []string{"b", "a", "b"}, Publishers: []types.Publisher{{2}, {1}}, From: Start{Now: true},
		AckWait: time.Minute, MaxPending: 7, MaxDeliver: 3, BackOff: []time.Duration{time.Second, time.Hour}, CausalAcks: true,
	}
}

func TestSettingsRecord(t *testing.T) {
	full := someSettings(t)
	for _, s := range []Settings{full, {Name: "plain", Topic: full.Topic}, {Name: "at", Topic: full.Topic, From: Start{Cursor: types.Cursor{Number: 7, Hash: [8]byte{1}}}}} {
		must(t, s.Validate())
		s = s.normal()
		if got, err := decodeSettings(s.Name, s.encode()); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v are read as %+v, %v", s, got, err)
		}
	}
}

func TestSettingsLimits(t *testing.T) {
	for name, breaks := range map[string]func(*Settings){
		"no name":        func(s *Settings) { s.Name = "" },
		"long name":      func(s *Settings) { s.Name = strings.Repeat("a", MaxName+1) },
		"dash":           func(s *Settings) { s.Name = "-a" },
		"dot":            func(s *Settings) { s.Name = "." },
		"slash":          func(s *Settings) { s.Name = "a/b" },
		"no topic":       func(s *Settings) { s.Topic = types.TopicID{} },
		"tag":            func(s *Settings) { s.Tags = []string{""} },
		"tags":           func(s *Settings) { s.Tags = make([]string, MaxTags+1) },
		"publishers":     func(s *Settings) { s.Publishers = make([]types.Publisher, MaxPublishers+1) },
		"two starts":     func(s *Settings) { s.From.Cursor.Number = 1 },
		"ack wait":       func(s *Settings) { s.AckWait = MaxDelay + 1 },
		"short ack wait": func(s *Settings) { s.AckWait = time.Microsecond },
		"pending":        func(s *Settings) { s.MaxPending = MaxPendingLimit + 1 },
		"less pending":   func(s *Settings) { s.MaxPending = -1 },
		"deliver":        func(s *Settings) { s.MaxDeliver = -1 },
		"back-off":       func(s *Settings) { s.BackOff = []time.Duration{0} },
		"back-offs":      func(s *Settings) { s.BackOff = make([]time.Duration, MaxBackOff+1) },
	} {
		s := someSettings(t)
		must(t, s.Validate())
		breaks(&s)
		if err := s.Validate(); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The n-th delay of BackOff follows the n-th delivery, and the last repeats.
func TestBackOff(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 1)
	c := b.create(t, Settings{AckWait: time.Hour, BackOff: []time.Duration{time.Second, 3 * time.Second}})
	for i, wait := range []time.Duration{0, time.Second, 3 * time.Second, 3 * time.Second} {
		b.now = b.now.Add(wait - time.Millisecond)
		if ds := next(t, c, 1); i > 0 && len(ds) > 0 {
			t.Fatalf("delivery %d came early", i+1)
		} else if i > 0 {
			b.now = b.now.Add(time.Millisecond)
			ds = next(t, c, 1)
			if len(ds) != 1 || ds[0].Count != i+1 {
				t.Fatalf("delivery %d did not come: %v", i+1, ds)
			}
		}
	}
}

// Each decoder takes what it encodes to, and nothing else.
func FuzzRecords(f *testing.F) {
	s := someSettings(f)
	s = s.normal()
	f.Add(s.encode())
	p := progress{
		epoch: 1, floor: types.Cursor{Number: 5}, scanned: types.Cursor{Number: 12}, dead: 1, suppressed: 300,
		runs: []run{{1, 2}, {2, 1}}, delivered: []delivered{{6, 1, 1000}, {9, 2, 900}}, again: []delivered{{2, 5, 1100}},
	}
	f.Add(p.encode())
	p.incarnation = 7
	f.Add(p.encode())
	p.at = 1_700_000_000_000
	f.Add(p.encode())
	n := note{digest: types.Hash{1}, attempts: 3, count: 1, millis: -1, reason: "why"}
	f.Add(n.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSettings("some", b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("settings %x are written as %x", b, s.encode())
		}
		if p, err := decodeProgress(b); err == nil && !bytes.Equal(p.encode(), b) {
			t.Errorf("progress %x is written as %x", b, p.encode())
		}
		if n, err := decodeNote(types.Record{Key: numberKey(deadPrefix, "some", 7), Value: b}); err == nil && !bytes.Equal(n.encode(), b) {
			t.Errorf("note %x is written as %x", b, n.encode())
		}
	})
}

func TestRecordsRefused(t *testing.T) {
	good := progress{floor: types.Cursor{Number: 5}, scanned: types.Cursor{Number: 12}}
	for name, breaks := range map[string]func(*progress){
		"too far ahead":    func(p *progress) { p.scanned.Number = p.floor.Number + MaxAhead + 1 },
		"runs too long":    func(p *progress) { p.runs = []run{{4, 4}} },
		"empty run":        func(p *progress) { p.runs = []run{{0, 1}} },
		"run without end":  func(p *progress) { p.runs = []run{{1, 0}} },
		"twice":            func(p *progress) { p.delivered = []delivered{{6, 1, 0}, {6, 1, 0}} },
		"never delivered":  func(p *progress) { p.delivered = []delivered{{6, 0, 0}} },
		"below the floor":  func(p *progress) { p.delivered = []delivered{{5, 1, 0}} },
		"requeued nothing": func(p *progress) { p.again = []delivered{{0, 1, 0}} },
	} {
		p := good
		if _, err := decodeProgress(p.encode()); err != nil {
			t.Fatal(err)
		}
		breaks(&p)
		if _, err := decodeProgress(p.encode()); !errors.Is(err, types.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeProgress(append(good.encode(), 0)); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("with a byte behind it: %v", err)
	}
	if _, err := decodeProgress(nil); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("empty: %v", err)
	}
}

func TestReasonIsCutOff(t *testing.T) {
	if got := cut(strings.Repeat("a", MaxReason-1) + "ü"); got != strings.Repeat("a", MaxReason-1) {
		t.Errorf("cut in the middle of a rune: %q", got[MaxReason-2:])
	}
	if got := cut(strings.Repeat("a", MaxReason)); len(got) != MaxReason {
		t.Errorf("%d bytes are left of %d", len(got), MaxReason)
	}
}
