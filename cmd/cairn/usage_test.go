package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// nobody is an address where nothing answers.
const nobody = "127.0.0.1:1"

// runArgs carries out a command line, in which ” is an empty word, with
// nobody to talk to.
func runArgs(line, stdin string, env map[string]string) (code int, stdout, stderr string) {
	var args []string
	for _, word := range strings.Fields(line) {
		args = append(args, strings.ReplaceAll(word, "''", ""))
	}
	var out, errOut bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &errOut, func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		return map[string]string{"CAIRN_API": nobody}[name]
	})
	return code, out.String(), errOut.String()
}

// TestUsage shows that what is typed is checked before anybody is asked: 2 wins
// over 3.
func TestUsage(t *testing.T) {
	tooLong := strings.Repeat("x", types.MaxName+1)
	for _, test := range []struct{ line, says string }{
		{"", "Available Commands"},
		{"nope", `unknown verb "nope"`},
		{"stat", `did you mean "status"`},
		{"topic", ""},
		{"topic nope", ""},
		{"peer nope", ""},
		{"key", ""},
		{"help nope", ""},
		{"nope --help", `unknown verb "nope"`},
		{"topic nope -h", `unknown verb "nope"`},
		{"help topic nope", ""},
		{"completion nope", ""},
		{"--nope", ""},
		{"status extra", ""},
		{"status -o yaml", "want table, json or ndjson"},
		{"status --timeout -1s", ""},
		{"status --timeout soon", ""},
		{"status --log-level loud", ""},
		{"status --api ftp://127.0.0.1", ""},
		{"status --api http://127.0.0.1/path", ""},
		{"get", ""},
		{"get xyz", `CID "xyz"`},
		{"get QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnqMQv", ""},
		{"topic heads", ""},
		{"topic heads ''", ""},
		{"topic heads id:", ""},
		{"topic heads id:xyz", ""},
		{"topic join " + tooLong, ""},
		{"topic create", ""},
		{"topic create a b", ""},
		{"topic create ''", ""},
		{"topic create " + tooLong, ""},
		{"topic create id:xyz", `may not begin with "id:"`},
		{"topic create t --writer xyz", "writer"},
		{"topic create t --owner xyz", "owner"},
		{"topic leave id:xyz", ""},
		{"topic status id:xyz", ""},
		{"topic wait id:xyz", ""},
		{"topic wait t --events -1", ""},
		{"topic ls extra", ""},
		{"pub", ""},
		{"pub id:xyz payload", ""},
		{"pub t a b", ""},
		{"pub t a --lines", ""},
		{"pub t a --tag ''", ""},
		{"query id:xyz", ""},
		{"query t --limit -1", ""},
		{"query t --after xyz", ""},
		{"query t --after ''", ""},
		{"query t --since yesterday", ""},
		{"query t --until 1969-12-31T23:59:59Z", ""},
		{"query t --tag ''", ""},
		{"query t --publisher xyz", ""},
		{"query t --payload -o json", ""},
		{"sub id:xyz", ""},
		{"sub t -o json", "use -o ndjson"},
		{"sub t --from -x", ""},
		{"sub t --from later", ""},
		{"sub t --from cAAAAAAAAAAAA", ""},
		{"sub t --count -1", ""},
		{"sub t --ack auto", "without the name of a consumer"},
		{"sub t --consumer ''", ""},
		{"sub t --consumer c --ack manual", "want auto or none"},
		{"sub t --consumer c --from start", "knows where it stands"},
		{"sub t --consumer -c", "name"},
		{"sub id:xyz --consumer c", ""},
		{"consumer", ""},
		{"consumer nope", ""},
		{"consumer create c", ""},
		{"consumer create .c t", "name"},
		{"consumer create a/b t", "name"},
		{"consumer create c id:xyz", ""},
		{"consumer create c t --tag ''", ""},
		{"consumer create c t --publisher xyz", "publisher"},
		{"consumer create c t --from later", ""},
		{"consumer create c t --from ''", "--from is empty"},
		{"consumer create c t --ack-wait 0", "--ack-wait"},
		{"consumer create c t --ack-wait -1s", ""},
		{"consumer create c t --max-pending 0", "--max-pending"},
		{"consumer create c t --max-pending -1", ""},
		{"consumer create c t --max-pending 65537", "65536"},
		{"consumer create c t --max-deliver -1", ""},
		{"consumer create c t --backoff soon", ""},
		{"consumer create c t --backoff 1s,0s", ""},
		{"consumer next", ""},
		{"consumer next c --batch 0", ""},
		{"consumer next c --wait -1s", ""},
		{"consumer next a/b", "name"},
		{"consumer ack c", ""},
		{"consumer ack c xyz", "not a token"},
		{"consumer ack c kAAAAAAAAAAAAAAAAAQE --delay 1s", ""},
		{"consumer nak c kAAAAAAAAAAAAAAAAAQE --delay -1s", ""},
		{"consumer term c kAAAAAAAAAAAAAAAAAQE xyz", "not a token"},
		{"consumer info", ""},
		{"consumer info a/b", "name"},
		{"consumer ls c", ""},
		{"consumer requeue c xyz", "CID"},
		{"consumer reset c", "--from is required"},
		{"consumer reset c --from later", ""},
		{"consumer rm", ""},
		{"peer connect", ""},
		{"peer connect xyz", ""},
		{"peer connect /ip4/127.0.0.1/tcp/1", ""},
		{"peer connect /p2p/12D3KooWMpPJBuMZxLudWUhNY9L4BYDQPNSvtPrB86hCuw4uN3Wx", "no address"},
		{"status --api http://127.0.0.1:99999", "0 to 65535"},
		{"run", "--data-dir is required"},
		{"run --data-dir d --api 0.0.0.0:0", "not a loopback address"},
		{"run --data-dir d --api http://127.0.0.1:0", ""},
		{"run --data-dir d --api 127.0.0.1", ""},
		{"run --data-dir d --api 127.0.0.1:99999", "0 to 65535"},
		{"run --data-dir d --api 127.0.0.1:x", ""},
		{"run --data-dir d --listen /ip4/127.0.0.1", "want /ip4/ADDRESS/tcp/PORT"},
		{"run --data-dir d --listen /ip4/127.0.0.1/udp/0", ""},
		{"run --data-dir d --listen /ip4/127.0.0.1/tcp/0/ws", ""},
		{"run --data-dir /dev/null --listen /ip4/127.0.0.1/tcp/0 --api 127.0.0.1:0", "/dev/null"},
		{"run --data-dir d --bootstrap /ip4/127.0.0.1/tcp/1", ""},
		{"run --data-dir d --network a/b", ""},
		{"run --data-dir d --network ''", ""},
		{"run --data-dir d --replicate some", "want joined or all"},
		{"run --data-dir d --archive --replicate joined", "--archive keeps all topics"},
		{"run --data-dir d --dht some", "want server, client or off"},
		{"run --data-dir d --dht ''", ""},
		{"run --data-dir d extra", ""},
		{"topic graph", ""},
		{"topic graph id:xyz", ""},
		{"topic graph t --format png", "want dot, svg or json"},
		{"topic graph t --format ''", ""},
		{"topic graph t --last 0", "want 1 to 2000"},
		{"topic graph t --last 2001", "want 1 to 2000"},
		{"topic graph t --last -1", ""},
		{"topic graph t -o json", "use --format json"},
		{"dev extra", ""},
		{"dev --nodes 0", "want 1 to 64"},
		{"dev --nodes 65", "want 1 to 64"},
		{"dev --nodes 1 --demo 10", "needs 2 at least"},
		{"dev --demo 0", "want 2 to 1000000"},
		{"dev --demo 1", "want 2 to 1000000"},
		{"dev --demo -5", ""},
		{"dev --demo 1000001", ""},
		{"dev --demo many", ""},
		{"dev --demo 10 --api 127.0.0.1:0", "takes free ports"},
		{"dev --keep ''", "--keep is empty"},
		{"dev --api 0.0.0.0:0", "not a loopback address"},
		{"dev --api 127.0.0.1:65534", "not so many ports"},
		{"sim", ""},
		{"sim run", ""},
		{"sim run none.toml", "none.toml"},
		{"sim run halves --seed -1", "--seed -1 is negative"},
		{"sim run halves --seed x", ""},
		{"sim run halves --network moon", "want simulated, loopback or processes"},
		{"sim run one-way --network loopback", "fault 1: kind: only the simulated network"},
		{"sim run halves --network processes", "fault 1: kind: processes can only"},
		{"sim run halves --report none/r.html", "there is no directory none"},
		{"sim ls extra", ""},
		{"sim show", ""},
		{"sim show halves -o json", "is TOML"},
	} {
		code, stdout, stderr := runArgs(test.line, "", nil)
		if code != exitUsage || stdout != "" || stderr == "" || !strings.Contains(stderr, test.says) {
			t.Errorf("cairn %.80s: code %d, stdout %q, stderr %q; want code %d and %q", test.line, code, stdout, stderr, exitUsage, test.says)
		}
	}
	for line, env := range map[string]map[string]string{
		"status":           {"CAIRN_API": "://"},
		"run --data-dir d": {"CAIRN_API_LISTEN": "192.0.2.1:0"},
	} {
		if code, _, stderr := runArgs(line, "", env); code != exitUsage {
			t.Errorf("cairn %s with %v: code %d, %s", line, env, code, stderr)
		}
	}
	if _, err := os.Stat("d"); err == nil {
		t.Error("a refused run has made its data directory")
	}
}

func TestHelp(t *testing.T) {
	for line, says := range map[string]string{
		"--help":            "Exit codes",
		"help":              "Exit codes",
		"help topic wait":   "cairn topic wait TOPIC",
		"topic wait --help": "cairn topic wait TOPIC",
		"completion bash":   "bash",
		"version":           "cairn " + release,
	} {
		if code, stdout, stderr := runArgs(line, "", nil); code != exitOK || stderr != "" || !strings.Contains(stdout, says) {
			t.Errorf("cairn %s: code %d, stdout %q, stderr %q", line, code, stdout, stderr)
		}
	}
}

// TestUnreachable shows that each verb that asks a node exits with 3 when
// nobody answers, and says where it asked.
func TestUnreachable(t *testing.T) {
	const cid = "bafyreihhyyb5esmuvsihbnns66ol543tfbqdh7kzv5kscrvgf22pqzqugu"
	for _, line := range []string{
		"status", "key show", "peer ls", "get " + cid,
		"peer connect /ip4/127.0.0.1/tcp/1/p2p/12D3KooWBA2WBwtcBGSvQPnTumiCSsUkNiLKWivzwtTvsUkP4K7f",
		"pub t payload", "pub t", "pub t --lines", "sub t", "sub t --from start -o ndjson",
		"query t", "query t -o json", "query t --payload",
		"topic join t", "topic leave t", "topic ls", "topic heads t", "topic status t", "topic wait t --timeout 10s",
		"topic graph t", "topic graph t --format dot --last 10",
		"consumer create c t", "consumer next c", "consumer next c --wait 1s -o ndjson", "consumer ack c kAAAAAAAAAAAAAAAAAQE",
		"consumer nak c kAAAAAAAAAAAAAAAAAQE --delay 1s", "consumer progress c kAAAAAAAAAAAAAAAAAQE", "consumer term c kAAAAAAAAAAAAAAAAAQE",
		"consumer ls", "consumer info c", "consumer dead c", "consumer suppressed c -o json", "consumer requeue c",
		"consumer reset c --from now", "consumer rm c", "sub t --consumer c", "sub t --consumer c --ack auto -o ndjson",
	} {
		code, stdout, stderr := runArgs(line, "a\nb\n", nil)
		if code != exitUnreachable || stdout != "" || !strings.Contains(stderr, nobody) || !strings.Contains(stderr, "cairn run") {
			t.Errorf("cairn %s: code %d, stdout %q, stderr %q", line, code, stdout, stderr)
		}
	}
}
