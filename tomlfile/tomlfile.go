// Package tomlfile reads TOML files that people write, and says in which line
// one is wrong.
package tomlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/cairn-p2p/cairn/types"
)

// Error says where a file is wrong. Its text begins with FILE:LINE:.
type Error struct {
	File string
	Line int // from 1
	Err  error
}

// Error returns FILE:LINE: and what is wrong there.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns types.ErrInvalidArgument and what is wrong.
func (e *Error) Unwrap() []error { return []error{types.ErrInvalidArgument, e.Err} }

// Read returns the content of a file of at most limit bytes. A larger one is an
// *Error.
func Read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, &Error{name, 1, errors.New("it is a directory")}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, &Error{name, 1, fmt.Errorf("it has more than %d bytes", limit)}
	}
	return text, nil
}

// Decode fills v, a pointer to a struct, from the text of a file. A key for
// which v has no field is an error, and so are TOML's dates and times. All errors
// are an *Error without a file.
func Decode(text []byte, v any) error {
	if key, line := dated(text); line > 0 { // which the decoder panics on, where a field is a number, say
		return &Error{Line: line, Err: fmt.Errorf("%s is a date or a time, which no key takes", key)}
	}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(v)
	if err != nil {
		return located(text, err)
	}
	return nil
}

// located makes an Error of one of the decoder.
func located(text []byte, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		line, _ := first.Position()
		return &Error{Line: line, Err: fmt.Errorf("unknown key %s", strings.Join(first.Key(), "."))}
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		return &Error{Line: line, Err: plain(wrong)}
	}
	// The decoder does not say where a key is defined again.
	_, again := lines(text)
	return &Error{Line: max(again, 1), Err: plain(err)}
}

// dated returns the first key whose value is or contains a date or a time, and its
// line; 0: there is none.
func dated(text []byte) (key string, line int) {
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		if e := p.Expression(); e.Kind == unstable.KeyValue && containsTime(e.Value()) {
			return dotted(&p, e)
		}
	}
	return "", 0
}

func containsTime(n *unstable.Node) bool {
	switch n.Kind {
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		return true
	case unstable.KeyValue:
		return containsTime(n.Value())
	}
	for in := n.Children(); in.Next(); {
		if containsTime(in.Node()) {
			return true
		}
	}
	return false
}

func plain(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "toml: ")) }

// Places are the lines of a file's keys and tables, by their dotted names; a
// table of an array has its index behind its name, as in fault.0.at.
type Places map[string]int

// Lines finds the keys and tables of the text of a file.
func Lines(text []byte) Places {
	at, _ := lines(text)
	return at
}

// lines is Lines; again is the line of the first key that is defined a second
// time, or 0.
func lines(text []byte) (at Places, again int) {
	at, count := Places{}, map[string]int{}
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		name, line := dotted(&p, e)
		switch e.Kind {
		case unstable.Table:
			table = name + "."
		case unstable.ArrayTable:
			count[name]++
			name = fmt.Sprintf("%s.%d", name, count[name]-1)
			table = name + "."
		case unstable.KeyValue:
			name = table + name
		default:
			continue
		}
		if at[name] > 0 && again == 0 {
			again = line
		}
		at[name] = line
	}
	return at, again
}

// dotted returns the name of a table or key, and its line.
func dotted(p *unstable.Parser, e *unstable.Node) (name string, line int) {
	var parts []string
	for k := e.Key(); k.Next(); {
		parts = append(parts, string(k.Node().Data))
		line = p.Shape(k.Node().Raw).Start.Line
	}
	return strings.Join(parts, "."), line
}

// Of returns the line of a key or, if the file does not have it, of the table
// that it should be in; 1 without that one too.
func (at Places) Of(name string) int {
	for {
		if line, ok := at[name]; ok {
			return line
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return 1
		}
		name = name[:dot]
	}
}
