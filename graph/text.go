package graph

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// shortPeer and shortCID are how many characters of an id tell it apart in
	// a picture: they are the last ones, as all ids begin alike.
	shortPeer = 8
	shortCID  = 6
	// maxPreview is how many bytes of a payload are shown.
	maxPreview = 80
)

// short returns the last n characters of an id.
func short(id string, n int) string {
	if len(id) <= n {
		return id
	}
	return "…" + id[len(id)-n:]
}

// preview returns the beginning of a payload, quoted if it is not plain text.
func preview(payload []byte) string {
	text, more := string(payload), ""
	if len(text) > maxPreview {
		cut := maxPreview
		for cut > maxPreview-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text, more = text[:cut], "…"
	}
	return plain(text) + more
}

// plain returns text as it is, or quoted if it has anything in it that is not
// printed.
func plain(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
