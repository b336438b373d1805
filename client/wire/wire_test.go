package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/types"
)

// FuzzReader demands that what is read is written and read the same, and that
// nothing else than the end of the stream and malformed bytes is found.
func FuzzReader(f *testing.F) {
	b, err := Encode(&pb.Response{Answer: &pb.Response_Entries{Entries: &pb.Entries{
		Entries: []*pb.Entry{{Position: &pb.Position{Number: 1, Hash: make([]byte, 8)}, Body: []byte("body"), Witness: []byte("witness")}},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append(b, b...))
	f.Add(b[:len(b)-1])
	f.Add([]byte{0x80, 0x00})
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for {
			m := new(pb.Response)
			err := r.Read(m)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrMalformed) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := Encode(m)
			if err != nil {
				t.Fatal(err)
			}
			again := new(pb.Response)
			if err := NewReader(bytes.NewReader(b)).Read(again); err != nil || !proto.Equal(m, again) {
				t.Fatalf("%v, read again %v: %v", m, again, err)
			}
		}
	})
}

// A frame above the limit is neither written nor allocated for.
func TestFrameLimit(t *testing.T) {
	if _, err := Encode(&pb.Event{Body: make([]byte, MaxFrame)}); err == nil {
		t.Error("a frame above the limit is encoded")
	}
	b, err := Encode(&pb.SubmitRequest{Events: []*pb.Event{{Body: make([]byte, types.MaxBody), Witness: make([]byte, types.MaxWitness)}}})
	if err != nil || len(b) > MaxFrame {
		t.Errorf("the largest event: %d bytes, %v", len(b), err)
	}
	for name, length := range map[string][]byte{
		"too long":      {0x81, 0x80, 0x40},
		"five bytes":    {0x80, 0x80, 0x80, 0x80, 0x01},
		"not canonical": {0x81, 0x00},
	} {
		if err := NewReader(bytes.NewReader(length)).Read(&pb.Request{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPositions(t *testing.T) {
	for _, c := range []types.Cursor{{}, {Number: 1, Hash: [8]byte{1, 2}}} {
		if got, err := Cursor(Position(c)); err != nil || got != c {
			t.Errorf("%v, read as %v: %v", c, got, err)
		}
	}
	if _, err := Cursor(&pb.Position{Number: 1, Hash: make([]byte, 7)}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}
