package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// pageWidth is how wide text for people is: what the narrowest terminals show.
const pageWidth = 80

// shortHash is how many characters of a heads hash tables show.
const shortHash = 16

// shortPeers returns a function that shortens the ids of peers to their last
// characters: as few as tell all of ids apart, and eight at least.
func shortPeers(ids []string) func(string) string {
	n := shortPeerLength
	for longest(ids) > n && ambiguous(ids, n) {
		n++
	}
	return func(id string) string { return ending(id, n) }
}

// ambiguous reports whether two different ids end in the same n characters.
func ambiguous(ids []string, n int) bool {
	whose := make(map[string]string, len(ids))
	for _, id := range ids {
		short := ending(id, n)
		if other, ok := whose[short]; ok && other != id {
			return true
		}
		whose[short] = id
	}
	return false
}

func longest(ids []string) int {
	n := 0
	for _, id := range ids {
		n = max(n, len(id))
	}
	return n
}

// ending returns the last n characters of an id: all begin alike.
func ending(id string, n int) string {
	if len(id) <= n {
		return id
	}
	return "…" + id[len(id)-n:]
}

// ago says how long before now t was.
func ago(t, now time.Time) string {
	const day = 24 * time.Hour
	d := now.Sub(t)
	switch {
	case d < time.Second: // or by a clock that differs
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	}
	return fmt.Sprintf("%dd ago", d/day)
}

// wrap breaks text between words into lines of at most width characters. A
// word that is longer has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
