package types

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	"pgregory.net/rapid"
)

// TestPublisherTextIsPeerID pins the text that go-libp2p's
// peer.IDFromPublicKey gives for the public keys of the seeds 32 × 1 and
// 32 × 2.
func TestPublisherTextIsPeerID(t *testing.T) {
	for n, want := range map[byte]string{
		1: "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
		2: "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
	} {
		if got := testPublisher(n).String(); got != want {
			t.Errorf("key %d: %s, want %s", n, got, want)
		}
	}
}

func TestPublisherText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Publisher(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		if back, err := ParsePublisher(p.String()); err != nil || back != p {
			t.Fatalf("%s: %x, %v", p, back, err)
		}
	})
	good := testPublisher(1).String()
	for _, s := range []string{
		"", good[:51], good + "1", good[:51] + "0", "1" + good, " " + good, strings.Repeat("z", 52),
		"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", // of an RSA key
		strings.Repeat("z", 1<<20),                       // hours, if it were read
	} {
		if _, err := ParsePublisher(s); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("ParsePublisher(%.60q): %v", s, err)
		}
	}
}

func TestCursorText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Cursor{Number: rapid.Uint64().Draw(t, "number"), Hash: [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "hash"))}
		s := c.String()
		if back, err := ParseCursor(s); err != nil || back != c {
			t.Fatalf("%s: %+v, %v", s, back, err)
		}
		if strings.HasPrefix(s, "-") || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q is not fit for a URL or an argument", s)
		}
	})
	good := Cursor{Number: 300, Hash: [8]byte{1, 2, 3}}.String()
	for _, s := range []string{
		"", "c", "start", good[1:], "d" + good[1:], good[:len(good)-1], good + "A", good + "=", good + "\n", "c\n" + good[1:],
		good[:3] + "\r\n" + good[3:], strings.ToUpper(good), "cgAAAAAAAAAAAAA", strings.Repeat("c", 100),
	} {
		if _, err := ParseCursor(s); !errors.Is(err, ErrInvalidCursor) {
			t.Errorf("ParseCursor(%q): %v", s, err)
		}
	}
}

func TestCIDText(t *testing.T) {
	encodings := []multibase.Encoding{multibase.Base32, multibase.Base58BTC, multibase.Base16, multibase.Base36, multibase.Base64url, multibase.Base2}
	rapid.Check(t, func(t *rapid.T) {
		d := Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		c := CIDOf(d)
		if Digest(c) != d {
			t.Fatalf("Digest(%s) = %x, want %x", c, Digest(c), d)
		}
		for _, e := range encodings {
			text, err := c.StringOfBase(e)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseCID(text); err != nil || back != c {
				t.Fatalf("ParseCID(%s) = %s, %v", text, back, err)
			}
		}
		if back, err := CastCID(c.Bytes()); err != nil || back != c {
			t.Fatalf("CastCID(%x) = %s, %v", c.Bytes(), back, err)
		}
	})
	block := SumCID([]byte("block"))
	for _, s := range []string{
		"", "b", "x", "demo", block.String()[1:], block.String() + "a", strings.Repeat("k", 1<<20),
		cid.NewCidV1(cid.Raw, block.Hash()).String(), // another codec
		cid.NewCidV0(block.Hash()).String(),          // version 0
	} {
		if _, err := ParseCID(s); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("ParseCID(%.60q): %v", s, err)
		}
	}
}

// TestCIDOrder: bytes decide, not text, which sorts otherwise.
func TestCIDOrder(t *testing.T) {
	low, high := CIDOf(Hash{0x00}), CIDOf(Hash{0xff})
	cids := []cid.Cid{high, low}
	SortCIDs(cids)
	if !slices.Equal(cids, []cid.Cid{low, high}) || CompareCIDs(low, high) != -1 || CompareCIDs(low, low) != 0 {
		t.Errorf("sorted: %v", cids)
	}
	a, b := &Event{Body: Body{Height: 1}, CID: high}, &Event{Body: Body{Height: 2}, CID: low}
	c := &Event{Body: Body{Height: 2}, CID: high}
	if CompareEvents(a, b) != -1 || CompareEvents(b, a) != 1 || CompareEvents(b, c) != -1 || CompareEvents(c, c) != 0 {
		t.Error("canonical order is not height, then CID")
	}
}
