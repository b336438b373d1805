package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	table := table[string]{
		{"NAME", 4, func(v *string) string { return *v }},
		{"LENGTH", 0, func(v *string) string { return strings.Repeat("i", len(*v)) }},
	}
	rows := []string{"a", "größer", "\x1b[31m"}
	fitted := table.fit(rows)
	got := string(fitted.appendHeader(nil))
	for _, row := range rows {
		got = string(fitted.appendRow([]byte(got), row))
	}
	want := `NAME        LENGTH
a           i
größer      iiiiiiii
"\x1b[31m"  iiiii
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPreview(t *testing.T) {
	for payload, want := range map[string]string{
		"":                            "",
		strings.Repeat("x", 48):       strings.Repeat("x", 48),
		strings.Repeat("x", 49):       strings.Repeat("x", 48) + "…",
		strings.Repeat("€", 17):       strings.Repeat("€", 16) + "…",
		"x" + strings.Repeat("€", 17): "x" + strings.Repeat("€", 15) + "…",
	} {
		if got := preview([]byte(payload)); got != want {
			t.Errorf("preview of %q: %q, want %q", payload, got, want)
		}
	}
	if got := printable(preview([]byte("\xff\x00"))); got != `"\xff\x00"` {
		t.Errorf("preview of bytes: %s", got)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	for s, want := range map[string]time.Time{
		"":                          {},
		"10m":                       now.Add(-10 * time.Minute),
		"-1h":                       now.Add(time.Hour),
		"2001-09-09T01:46:40Z":      now,
		"2001-09-09T03:46:40+02:00": now,
		"2001-09-09T01:46:40.5Z":    now.Add(time.Second / 2),
	} {
		if got, err := parseTime("since", s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "2001-09-09", "1000000000", "10 m"} {
		if got, err := parseTime("since", s, now); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}
