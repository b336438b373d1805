package clock_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what happens into the scenarios as what is expected")

// TestScenarios plays the conversations in testdata. A file begins with the
// reason why it exists, as comments, and goes on with steps: a sentence, a line
// of dashes, and what comes of it, up to an empty line. The sentences are those
// of stage.play; -update rewrites what comes of them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# ") {
		t.Errorf("%s does not begin with why it exists", file)
	}
	st := newStage()
	var played strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		var comments, sentences []string
		before, _, _ := strings.Cut(block+"\n", "----\n")
		for line := range strings.Lines(before) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "#") {
				comments = append(comments, line)
			} else {
				sentences = append(sentences, line)
			}
		}
		if played.Len() > 0 {
			played.WriteString("\n")
		}
		for _, line := range append(comments, sentences...) {
			played.WriteString(line + "\n")
		}
		if len(sentences) == 0 {
			continue
		}
		played.WriteString("----\n")
		for _, sentence := range sentences {
			said, err := st.play(sentence)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, sentence, err)
			}
			played.WriteString(said)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(played.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(text); played.String() != want {
		t.Errorf("%s, run with -update to accept:\n%s", file, firstDifference(want, played.String()))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n want: %s\n  got: %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
