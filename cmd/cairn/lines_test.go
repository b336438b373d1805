package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cairn-p2p/cairn/types"
)

// readLines returns what a lineReader makes of r, and its error.
func readLines(t *testing.T, r io.Reader) (lines []string, batches int, err error) {
	t.Helper()
	l := newLineReader(r, nil)
	go l.run(t.Context())
	for batch := range l.batches {
		batches++
		for _, d := range batch {
			lines = append(lines, string(d.Payload))
		}
	}
	return lines, batches, l.err
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", types.MaxPayload)
	for _, test := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"\n\n", []string{"", ""}},
		{"a", []string{"a"}},
		{"a\nb", []string{"a", "b"}},
		{"a\n\nb\n", []string{"a", "", "b"}},
		{"a\r\nb\x00\xff\n", []string{"a\r", "b\x00\xff"}},
		{long + "\n" + long, []string{long, long}},
	} {
		for name, r := range map[string]io.Reader{
			"whole":       strings.NewReader(test.in),
			"in halves":   iotest.HalfReader(strings.NewReader(test.in)),
			"end at once": iotest.DataErrReader(strings.NewReader(test.in)),
		} {
			lines, _, err := readLines(t, r)
			if err != nil {
				t.Errorf("%.20q %s: %v", test.in, name, err)
			}
			if strings.Join(lines, "|") != strings.Join(test.want, "|") || len(lines) != len(test.want) {
				t.Errorf("%.20q %s: %.60q, want %.60q", test.in, name, lines, test.want)
			}
		}
	}
}

func TestLinesTravelTogether(t *testing.T) {
	const n = 1000
	lines, batches, err := readLines(t, strings.NewReader(strings.Repeat("x\n", n)))
	if err != nil || len(lines) != n {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if most := n/maxBatchLines + 1; batches > most {
		t.Errorf("%d batches, want at most %d", batches, most)
	}
}

// TestLineDoesNotWait shows that a line is handed on before the next comes.
func TestLineDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	l := newLineReader(r, nil)
	go l.run(t.Context())
	for _, line := range []string{"a", "b"} {
		if _, err := io.WriteString(w, line+"\nrest of "); err != nil {
			t.Fatal(err)
		}
		if batch := <-l.batches; len(batch) != 1 || !bytes.HasSuffix(batch[0].Payload, []byte(line)) {
			t.Errorf("batch %q", batch)
		}
	}
	w.Close() //nolint:errcheck // a pipe's never fails
	<-l.batches
}

func TestLineTooLong(t *testing.T) {
	lines, _, err := readLines(t, strings.NewReader("a\n"+strings.Repeat("x", types.MaxPayload+1)+"\nb\n"))
	if len(lines) != 1 || !errors.Is(err, types.ErrInvalidArgument) || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	broken := errors.New("broken")
	lines, _, err = readLines(t, io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if len(lines) != 1 || !errors.Is(err, broken) {
		t.Errorf("%q, %v", lines, err)
	}
}
