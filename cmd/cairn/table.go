package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// column is one column of a table for people.
type column[T any] struct {
	name  string
	width int // in characters; longer cells push the rest of their row aside
	cell  func(v *T) string
}

// table is the columns of rows of one kind.
type table[T any] []column[T]

// columnGap stands between two columns.
const columnGap = "  "

func (t table[T]) appendHeader(b []byte) []byte {
	return t.appendLine(b, func(c column[T]) string { return c.name })
}

func (t table[T]) appendRow(b []byte, v T) []byte {
	return t.appendLine(b, func(c column[T]) string { return printable(c.cell(&v)) })
}

func (t table[T]) appendLine(b []byte, cell func(column[T]) string) []byte {
	var line strings.Builder
	for i, c := range t {
		if i > 0 {
			line.WriteString(columnGap)
		}
		text := cell(c)
		line.WriteString(text)
		if i < len(t)-1 {
			line.WriteString(padding(text, c.width))
		}
	}
	return append(append(b, strings.TrimRight(line.String(), " ")...), '\n')
}

// fit returns the table with columns wide enough for rows.
func (t table[T]) fit(rows []T) table[T] {
	fitted := append(table[T](nil), t...)
	for i, c := range t {
		for _, v := range rows {
			fitted[i].width = max(fitted[i].width, utf8.RuneCountInString(printable(c.cell(&v))))
		}
		fitted[i].width = max(fitted[i].width, len(c.name))
	}
	return fitted
}

func padding(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// field is a name and a value of an object that is printed for people.
type field struct{ name, value string }

func fieldf(name, format string, args ...any) field {
	return field{name, fmt.Sprintf(format, args...)}
}

// listField is a field for each of values, of which the first has the name.
func listField(name string, values []string) []field {
	if len(values) == 0 {
		return []field{{name, "-"}}
	}
	fields := make([]field, len(values))
	for i, v := range values {
		fields[i].value = v
	}
	fields[0].name = name
	return fields
}

// appendFields appends a line for each field, with the values aligned.
func appendFields(b []byte, fields []field) []byte {
	width := 0
	for _, f := range fields {
		width = max(width, len(f.name))
	}
	for _, f := range fields {
		line := f.name + padding(f.name, width) + columnGap + printable(f.value)
		b = append(append(b, strings.TrimRight(line, " ")...), '\n')
	}
	return b
}

// printable returns text as it is if a terminal shows it so, else quoted: what
// others have published must not move the cursor.
func printable(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// maxPreview is how many bytes of a payload a table shows.
const maxPreview = 48

// preview returns the beginning of a payload.
func preview(payload []byte) string {
	if len(payload) <= maxPreview {
		return string(payload)
	}
	cut := maxPreview
	for cut > maxPreview-utf8.UTFMax && !utf8.RuneStart(payload[cut]) {
		cut--
	}
	return string(payload[:cut]) + "…"
}
