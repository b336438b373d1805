package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/spf13/pflag"
)

// format is how rows are printed.
type format string

const (
	formatTable  format = "table"  // for people
	formatJSON   format = "json"   // one document
	formatNDJSON format = "ndjson" // one object a line
)

var _ pflag.Value = (*format)(nil)

func (f *format) Type() string   { return "format" }
func (f *format) String() string { return string(*f) }

func (f *format) Set(s string) error {
	switch v := format(s); v {
	case formatTable, formatJSON, formatNDJSON:
		*f = v
		return nil
	}
	return fmt.Errorf("want table, json or ndjson")
}

// printer prints rows in one format, each with one write.
type printer[T any] struct {
	w      io.Writer
	format format
	table  table[T]
	rows   int
}

// row prints one row.
func (p *printer[T]) row(v T) error {
	var b []byte
	if p.format == formatTable {
		if p.rows == 0 {
			b = p.table.appendHeader(b)
		}
		b = p.table.appendRow(b, v)
	} else {
		text, err := marshal(v)
		if err != nil {
			return err
		}
		if p.format == formatJSON { // a row a line
			separator := ",\n"
			if p.rows == 0 {
				separator = "[\n"
			}
			b = append([]byte(separator), text...)
		} else {
			b = append(text, '\n')
		}
	}
	p.rows++
	return write(p.w, b)
}

// end prints what comes after the last row. Without it a JSON array stays
// open, so that nobody takes a part for the whole.
func (p *printer[T]) end() error {
	switch {
	case p.format == formatJSON && p.rows == 0:
		return write(p.w, []byte("[]\n"))
	case p.format == formatJSON:
		return write(p.w, []byte("\n]\n"))
	case p.format == formatTable && p.rows == 0:
		return write(p.w, p.table.appendHeader(nil))
	}
	return nil
}

// printRows prints rows as they come, through a buffer.
func printRows[T any](a *app, rows iter.Seq2[T, error], t table[T]) error {
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	p := printer[T]{w: w, format: a.output, table: t}
	for v, err := range rows {
		if err == nil {
			err = p.row(v)
		}
		if err != nil {
			w.Flush() //nolint:errcheck // the first error is the one to tell
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	return wrote(w.Flush())
}

// printList prints rows that are all there, with columns as wide as they need.
func printList[T any](a *app, rows []T, t table[T]) error {
	return printRows(a, func(yield func(T, error) bool) {
		for _, v := range rows {
			if !yield(v, nil) {
				return
			}
		}
	}, t.fit(rows))
}

// printObject prints one object: v as JSON, or its fields for people.
func (a *app) printObject(v any, fields []field) error {
	if a.output == formatTable {
		return write(a.stdout, appendFields(nil, fields))
	}
	b, err := marshal(v)
	if err != nil {
		return err
	}
	if a.output == formatJSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, b, "", "  "); err != nil {
			return err
		}
		b = indented.Bytes()
	}
	return write(a.stdout, append(slices.Clip(b), '\n'))
}

// marshal returns v's JSON on one line, with '<', '>' and '&' as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return wrote(err)
}

func wrote(err error) error {
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
