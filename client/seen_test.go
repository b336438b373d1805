package client

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// seenEvent is an event as a Seen knows it.
func seenEvent(n uint64) *types.Event {
	var p types.Publisher
	binary.BigEndian.PutUint64(p[:], n%7)
	return &types.Event{
		Body: types.Body{Publisher: p, Seq: n / 7, Height: n + 1},
		CID:  types.SumCID(binary.BigEndian.AppendUint64(nil, n)),
	}
}

func seenSubscription() Subscription { return Subscription{Topic: types.SumCID([]byte("topic"))} }

func openSeen(t testing.TB, path string) *Seen {
	t.Helper()
	s, err := OpenSeen(path, seenSubscription())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// demandSeen demands that exactly the events up to n, of those that are tried, are
// in the set.
func demandSeen(t *testing.T, s *Seen, n, tried uint64) {
	t.Helper()
	if s.Events() != n || s.Cursor().Number != n {
		t.Fatalf("%d events up to %d, want %d", s.Events(), s.Cursor().Number, n)
	}
	for i := range tried {
		e := seenEvent(i)
		want, other := e.Height, e.CID
		if i >= n {
			want, other = 0, cid.Undef
		}
		if got, err := s.height(e.CID); err != nil || got != want {
			t.Fatalf("event %d of %d: height %d, want %d: %v", i, n, got, want, err)
		}
		if got, err := s.bySeq(e.Publisher, e.Seq); err != nil || got != other {
			t.Fatalf("event %d of %d by its seq: %s, want %s: %v", i, n, got, other, err)
		}
	}
}

// The set is the same whether records are written or not, and after it was opened
// again; a file that a crash cut or spoilt goes on from its last whole record.
func TestSeen(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	path := filepath.Join(t.TempDir(), "seen")
	s := openSeen(t, path)
	n := uint64(0)
	for range 60 {
		for range rng.IntN(200) {
			if err := s.Take(Delivery{Event: seenEvent(n), Cursor: types.Cursor{Number: n + 1, Hash: [8]byte{1}}}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		switch rng.IntN(4) {
		case 0:
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openSeen(t, path)
		case 2: // a crash: what was not written is lost, and the end is not whole
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := s.file.Close(); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				if err := os.Truncate(path, s.offset(n)-1-int64(rng.IntN(seenRecord))); err != nil {
					t.Fatal(err)
				}
				n--
			}
			s = openSeen(t, path)
		case 3: // the last record is spoilt
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)-1-rng.IntN(seenRecord)] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				n--
			}
			s = openSeen(t, path)
		}
		demandSeen(t, s, n, n+20)
	}
	if n < 1000 {
		t.Errorf("only %d events", n)
	}
	if _, err := OpenSeen(path, seenSubscription()); !errors.Is(err, types.ErrLocked) {
		t.Errorf("second use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Links to what was not seen are kept, once, and are no events.
func TestSeenLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen")
	s := openSeen(t, path)
	unknown := []cid.Cid{types.SumCID([]byte("a")), types.SumCID([]byte("b"))}
	for i := range uint64(3) {
		if err := s.Take(Delivery{Event: seenEvent(i), Cursor: types.Cursor{Number: i + 1}, Unverified: unknown[:min(i, 2)]}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		demandSeen(t, s, 3, 5)
		for _, id := range unknown {
			if linked, err := s.linked(id); err != nil || !linked {
				t.Errorf("%s: linked %t, %v", id, linked, err)
			}
			if height, err := s.height(id); err != nil || height != 0 {
				t.Errorf("%s: height %d, %v", id, height, err)
			}
		}
		for _, id := range []cid.Cid{seenEvent(0).CID, seenEvent(9).CID} {
			if linked, err := s.linked(id); err != nil || linked {
				t.Errorf("%s: linked %t, %v", id, linked, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != s.offset(5) {
			t.Errorf("%d bytes: %v", info.Size(), err)
		}
		s = openSeen(t, path)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A set is of one subscription; where that begins counts only as the start or not.
func TestSeenSubscription(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen")
	if err := openSeen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Subscription){
		"topic":     func(s *Subscription) { s.Topic = types.SumCID(nil) },
		"now":       func(s *Subscription) { s.Now = true },
		"cursor":    func(s *Subscription) { s.After.Number = 1 },
		"tag":       func(s *Subscription) { s.Tags = []string{"t"} },
		"publisher": func(s *Subscription) { s.Publishers = make([]types.Publisher, 1) },
	} {
		s := seenSubscription()
		change(&s)
		if _, err := OpenSeen(path, s); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	a, b := seenSubscription(), seenSubscription()
	a.Now, b.After.Number = true, 1
	if a.digest() != b.digest() {
		t.Error("it matters where an incomplete subscription begins")
	}
	for size := range seenHead { // a crash in the first write
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		s := openSeen(t, path)
		demandSeen(t, s, 0, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != int64(seenHead) {
			t.Errorf("cut to %d bytes, the head has %d: %v", size, info.Size(), err)
		}
	}
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSeen(path, seenSubscription()); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("another file: %v", err)
	}
}

// What a temporary set leaves is nothing.
func TestSeenTemporary(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := openSeen(t, "")
	if err := s.Take(Delivery{Event: seenEvent(0), Cursor: types.Cursor{Number: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	demandSeen(t, s, 1, 2)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%d files: %v", len(files), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkSeen takes up events, each with a look at the one before.
func BenchmarkSeen(b *testing.B) {
	s := openSeen(b, filepath.Join(b.TempDir(), "seen"))
	events := make([]*types.Event, b.N)
	for i := range events {
		events[i] = seenEvent(uint64(i))
	}
	b.ResetTimer()
	for i, e := range events {
		if i > 0 {
			if height, err := s.height(events[i-1].CID); height == 0 || err != nil {
				b.Fatal(height, err)
			}
		}
		if err := s.Take(Delivery{Event: e, Cursor: types.Cursor{Number: uint64(i) + 1}}); err != nil {
			b.Fatal(err)
		}
		if i%256 == 255 {
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(8*len(s.slots))/float64(b.N), "B-memory/op")
	b.ReportMetric(seenRecord, "B-disk/op")
}
