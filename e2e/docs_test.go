package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The scenario of docs/simulation.md runs as it is written, and each kind of
// fault has an example there that is valid.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```toml\n")
	written, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("no scenario")
	}
	s, err := parse([]byte(written))
	if err != nil {
		t.Fatalf("scenario: %v", err)
	}
	simulate(t, s)
	examples := map[Kind]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|.*\\| (`at = .*) \\|$").FindAllStringSubmatch(string(text), -1) {
		examples[Kind(row[1])] = strings.ReplaceAll(strings.ReplaceAll(row[2], "`, `", "\n"), "`", "")
	}
	for _, k := range Kinds() {
		if _, err := parse(fmt.Appendf(nil, "nodes = 6\nduration = \"6s\"\n[[fault]]\nkind = %q\n%s\n", k, examples[k])); err != nil || examples[k] == "" {
			t.Errorf("example of %s, %q: %v", k, examples[k], err)
		}
	}
}
