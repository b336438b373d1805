//go:build process

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A light client's publisher is killed anywhere in its work, and every third time
// the daemon too: what was signed has one CID, `--resend` names the last of them, and
// in the end each line is there once, in order, each with the next seq.
func TestKilledInTheMiddleOfSignedPub(t *testing.T) {
	const rounds, seed = 12, 7
	rng := rand.New(rand.NewPCG(seed, seed))
	dir := t.TempDir()
	key := filepath.Join(t.TempDir(), "k")
	d := startDaemon(t, dir)
	var made struct {
		ID string `json:"peer_id"`
	}
	if err := json.Unmarshal([]byte(d.run(nil, "key", "new", key, "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	printed := map[string]bool{} // each CID that was ever printed
	resent := 0
	for round := range rounds {
		pub := d.command(t.Context(), "pub", topicName, "--lines", "--key", key)
		pub.Stdin = numbersFrom(len(printed), 1<<16) // more than there is time for
		pub.Stderr = nil
		out, err := pub.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Start(); err != nil {
			t.Fatal(err)
		}
		acks, last := bufio.NewScanner(out), rng.IntN(1000)
		begun, killed := make(chan struct{}), make(chan struct{})
		later, victim := time.Duration(rng.IntN(20_000))*time.Microsecond, d
		go func() { // at any step of what comes next
			defer close(killed)
			<-begun
			time.Sleep(later)
			if round%3 == 2 {
				victim.kill()
			}
			pub.Process.Kill() //nolint:errcheck // it may have ended with the daemon
		}()
		for n := 0; acks.Scan(); n++ {
			printed[acks.Text()] = true
			if n == last {
				close(begun)
			}
		}
		if err := pub.Wait(); err == nil {
			t.Fatal("it published all of them")
		}
		<-killed
		if round%3 == 2 {
			d = startDaemon(t, dir)
		}
		for _, cid := range strings.Fields(d.run(nil, "pub", topicName, "--key", key, "--resend")) {
			if !printed[cid] {
				resent++
			}
			printed[cid] = true
		}
	}
	text := d.run(nil, "query", topicName, "--publisher", made.ID, "-o", "ndjson")
	n := 0
	for line := range strings.Lines(text) {
		var row struct {
			CID     string
			Seq     int
			Payload []byte
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Seq != n+1 || string(row.Payload) != fmt.Sprint(n) || !printed[row.CID] {
			t.Fatalf("event %d has seq %d, payload %q; printed: %t", n, row.Seq, row.Payload, printed[row.CID])
		}
		n++
	}
	if n != len(printed) || n < rounds {
		t.Errorf("%d events, %d CIDs were printed", n, len(printed))
	}
	t.Logf("%d events, %d of them sent by --resend alone", n, resent)

	// The whole of it is verified by a reader.
	verified := d.run(nil, "sub", topicName, "--verify", "--from", "start", "--count", fmt.Sprint(n), "-o", "ndjson")
	if got := strings.Count(verified, "\n"); got != n {
		t.Errorf("%d verified", got)
	}
	if b, err := os.ReadFile(key + ".state"); err != nil || len(b) > 1<<20 {
		t.Errorf("a state of %d bytes: %v", len(b), err)
	}
}

// numbersFrom returns n numbers from first on, a line each.
func numbersFrom(first, n int) *bytes.Reader {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintln(&b, first+i)
	}
	return bytes.NewReader(b.Bytes())
}
