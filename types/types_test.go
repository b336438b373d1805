package types

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// testKey returns the Ed25519 key number n: its seed is 32 times the byte n.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func testPublisher(n byte) Publisher { return PublisherOf(testKey(n)) }

func mustEvent(t testing.TB, body Body) *Event {
	t.Helper()
	e, err := NewEvent(body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustOpen(t testing.TB, name string) *Genesis {
	t.Helper()
	g, err := NewOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// batchEvents returns n events of key 1 in the open topic "batch", not yet
// signed: seq 1 to n, no links, height 1, time 0, payload the seq in two bytes,
// big endian.
func batchEvents(t testing.TB, n int) []*Event {
	t.Helper()
	topic := mustOpen(t, "batch").ID()
	events := make([]*Event, n)
	for i := range events {
		seq := uint64(i + 1)
		events[i] = mustEvent(t, Body{
			Topic: topic, Publisher: testPublisher(1), Seq: seq, Height: 1,
			Payload: binary.BigEndian.AppendUint16(nil, uint16(seq)),
		})
	}
	return events
}

// hexBytes is JSON as hex.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// golden holds want to the vectors file name, byte for byte, after writing it
// when asked to, and returns what the file says.
func golden[T any](t testing.TB, name string, want T) T {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	if err := enc.Encode(want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		writeFile(t, path, buf.Bytes())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, buf.Bytes()) {
		t.Errorf("%s differs from what the code makes; -update writes it anew, which breaks every network", path)
	}
	var got T
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
