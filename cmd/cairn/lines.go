package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/types"
)

// Limits of what pub --lines sends together.
const (
	maxBatchLines = 256
	maxBatchSize  = 64 << 10
)

// lineReader makes drafts of lines, and batches of those that have come
// already: a line never waits for the next.
type lineReader struct {
	in      *bufio.Reader
	tags    []string
	batches chan []api.Draft
	err     error  // why the lines ended early; set before batches is closed
	lines   uint64 // owned by run
}

func newLineReader(r io.Reader, tags []string) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, maxBatchSize), tags: tags, batches: make(chan []api.Draft)}
}

// run reads until the input or ctx ends, and closes batches.
func (l *lineReader) run(ctx context.Context) {
	defer close(l.batches)
	for more := true; more; {
		var batch []api.Draft
		batch, more = l.next()
		if len(batch) == 0 {
			continue
		}
		select {
		case l.batches <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// next blocks for a line and returns it with those that are buffered behind
// it. It reports whether there may be more.
func (l *lineReader) next() (batch []api.Draft, more bool) {
	size := 0
	for {
		line, err := l.line()
		switch {
		case errors.Is(err, io.EOF):
			return batch, false
		case err != nil:
			l.err = fmt.Errorf("line %d: %w", l.lines+1, err)
			return batch, false
		}
		l.lines++
		batch = append(batch, api.Draft{Payload: line, Tags: l.tags})
		size += len(line)
		if len(batch) == maxBatchLines || size >= maxBatchSize || !l.buffered() {
			return batch, true
		}
	}
}

// buffered reports whether a whole line can be had without a read.
func (l *lineReader) buffered() bool {
	b, err := l.in.Peek(l.in.Buffered())
	return err == nil && bytes.IndexByte(b, '\n') >= 0
}

// line returns the next line without its line feed. A last line without one
// counts unless it is empty. It reads little more of a line than a payload may
// have.
func (l *lineReader) line() ([]byte, error) {
	line := []byte{}
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			line = line[:len(line)-1]
		case errors.Is(err, io.EOF) && len(line) > 0:
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= types.MaxPayload:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, err
		}
		if len(line) > types.MaxPayload {
			return nil, errPayloadSize
		}
		return line, nil
	}
}
