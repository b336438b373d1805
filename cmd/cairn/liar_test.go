package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-p2p/cairn/client"
	"github.com/cairn-p2p/cairn/e2e/hostile"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

// Whatever a broker lies about to a subscriber or a publisher is caught, with 1 and
// the evidence on stderr; what came before the lie was printed. An honest one is
// accused of nothing.
func TestLyingBrokers(t *testing.T) {
	for _, lie := range hostile.Lies() {
		t.Run(lie.Name, func(t *testing.T) {
			g, err := types.NewOpen("t")
			if err != nil {
				t.Fatal(err)
			}
			b, err := hostile.StartBroker(g, lie)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close() //nolint:errcheck // the test is over
			key := newKeyFile(t)
			line := "sub t --verify --from start -o ndjson --count 9 --broker "
			if lie.Filter {
				line = "sub t --verify --from start --tag t -o ndjson --count 9 --broker "
			}
			if lie.Publishes > 0 {
				line = "pub t payload --key " + key + " --broker "
			}
			line += b.Addr() + " --timeout 20s"
			for range lie.Publishes - 1 {
				if code, _, stderr := runArgs(line, "", nil); code != 0 {
					t.Fatalf("exit code %d before the lie: %s", code, stderr)
				}
			}
			if lie.Kind == "" {
				line = strings.Replace(line, "--count 9", "--count 8", 1)
			}
			code, stdout, stderr := runArgs(line, "", nil)
			if lie.Kind == "" {
				if code != 0 || strings.Count(stdout, "\n") != 8 || stderr != "" {
					t.Errorf("honest broker: exit code %d, %d rows, %s", code, strings.Count(stdout, "\n"), stderr)
				}
				return
			}
			v := evidenceIn(t, stderr)
			if code != 1 || string(v.Kind) != lie.Kind || v.Topic != g.ID().String() || !strings.Contains(b.Addr(), v.Broker) {
				t.Errorf("exit code %d, violation %+v, want kind %s", code, v, lie.Kind)
			}
			if rows := strings.Count(stdout, "\n"); lie.Publishes == 0 && uint64(rows) != v.Seen {
				t.Errorf("%d rows came before, the evidence says %d", rows, v.Seen)
			}
			if lie.Publishes > 0 {
				if events := b.Events(); len(events) > 9 { // it is given nothing twice
					t.Errorf("%d events submitted", len(events)-8)
				}
			}
		})
	}
}

// full is where nothing can be written.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A row that could not be printed is not taken up as seen: the next run prints it.
func TestSeenIsWhatWasPrinted(t *testing.T) {
	g, err := types.NewOpen("t")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hostile.StartBroker(g, hostile.Lies()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test is over
	line := "sub t --verify --from start -o ndjson --broker " + b.Addr() + " --seen " + filepath.Join(t.TempDir(), "seen") + " --count "
	if code := run(strings.Fields(line+"8"), strings.NewReader(""), full{}, io.Discard, func(string) string { return "" }); code != 1 {
		t.Errorf("exit code %d with nowhere to print", code)
	}
	if code, stdout, stderr := runArgs(line+"8", "", nil); code != 0 || strings.Count(stdout, "\n") != 8 {
		t.Errorf("exit code %d, %d rows, want 8: %s", code, strings.Count(stdout, "\n"), stderr)
	}
}

// newKeyFile makes a key in a directory of its own.
func newKeyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	key, err := keyfile.New()
	if err == nil {
		err = keyfile.Write(path, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// evidenceIn reads the evidence on stderr, whose event must be what its CID says.
func evidenceIn(t *testing.T, stderr string) *client.Violation {
	t.Helper()
	_, text, found := strings.Cut(stderr, "\nevidence: ")
	if !found {
		t.Fatalf("no evidence: %s", stderr)
	}
	text, _, _ = strings.Cut(text, "\n")
	v := new(client.Violation)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("evidence %s: %v", text, err)
	}
	if v.CID != "" && types.SumCID(v.Body).String() != v.CID {
		t.Errorf("the bytes of the evidence are not those of %s", v.CID)
	}
	if v.CID == "" && v.Genesis == nil && v.Link == "" && v.Kind != client.KindPosition && v.Kind != client.KindAnswer {
		t.Errorf("nothing is shown: %s", text)
	}
	return v
}
