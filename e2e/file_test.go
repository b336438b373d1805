package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every key of a file reaches its field.
func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mine.toml")
	text := `# every key
about = "all of it"
nodes = 5
topics = 2
events = 100
size = 64
writers = 3
duration = "1m30s"
dht = true
seed = 7

[link]
latency = "20ms"
jitter = "5ms"
loss = 0.1
bandwidth = 10_000_000

[[fault]]
at = "1s"
kind = "partition"
nodes = [0, 4]
for = "10s"
asymmetric = true

[[fault]]
at = "2s"
kind = "lose"
pick = 2
loss = 0.5

[[fault]]
at = "3s"
kind = "delay"
delay = "1s"

[[fault]]
at = "4s"
kind = "slow"
bandwidth = 100_000

[[fault]]
at = "5s"
kind = "clock-skew"
skew = "-1h"

[[fault]]
at = "6s"
kind = "restore-old"
age = "2s"

[[fault]]
at = "4s"
kind = "byzantine"
behaviour = "orphans"
count = 500
nodes = [1]

[expect]
within = "20s"
`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	want := Scenario{
		Name: "mine", About: "all of it", Nodes: 5, Topics: 2, Events: 100, Size: 64, Writers: 3,
		Duration: 90 * time.Second, DHT: true, Seed: 7,
		Link: Link{20 * time.Millisecond, 5 * time.Millisecond, 0.1, 10_000_000},
		Faults: []Fault{
			{At: time.Second, Kind: Partition, Nodes: []int{0, 4}, For: 10 * time.Second, Asymmetric: true},
			{At: 2 * time.Second, Kind: Lose, Pick: 2, Loss: 0.5},
			{At: 3 * time.Second, Kind: Delay, Delay: time.Second},
			{At: 4 * time.Second, Kind: Slow, Bandwidth: 100_000},
			{At: 5 * time.Second, Kind: ClockSkew, Skew: -time.Hour},
			{At: 6 * time.Second, Kind: RestoreOld, Age: 2 * time.Second},
			{At: 4 * time.Second, Kind: Byzantine, Nodes: []int{1}, Behaviour: "orphans", Count: 500},
		},
		Expect: Expect{20 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is written is read back.
func TestTOML(t *testing.T) {
	for _, want := range Builtin() {
		text, err := want.TOML()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// An error in a file says where it is.
func TestLoadRefuses(t *testing.T) {
	const head = "nodes = 3\nduration = \"1m\"\n"
	for _, test := range []struct{ name, text, want string }{
		{"no file at all", "", ":1: nodes: 0 is not in [1, 1000]"},
		{"unknown key", head + "nods = 3\n", ":3: unknown key nods"},
		{"unknown key in a table", head + "[link]\n\nspeed = 3\n", ":5: unknown key link.speed"},
		{"unknown key in a fault", head + "[[fault]]\nat = \"1s\"\nkind = \"crash\"\n[[fault]]\nkind = \"heal\"\nwhen = \"1s\"\n", ":8: unknown key fault.when"},
		{"no TOML", head + "events = = 3\n", ":3: "},
		{"twice", head + "nodes = 3\n", ":3: "},
		{"wrong type", head + "events = \"many\"\n", ":3: "},
		{"no duration", head + "[link]\nlatency = \"soon\"\n", `:4: "soon" is no duration`},
		{"a number for a duration", head + "[link]\nlatency = 5\n", `:4: "5" is no duration`},
		{"negative seed", head + "seed = -1\n", ":3: "},
		{"too many nodes", "duration = \"1m\"\n\nnodes = 100000\n", ":3: nodes: 100000 is not in"},
		{"a value of a table", head + "[link]\nlatency = \"1s\"\nloss = 1.5\n", ":5: link.loss: 1.5 is not in"},
		{"the second fault", head + "[[fault]]\nkind = \"crash\"\n[[fault]]\nat = \"1s\"\nkind = \"explode\"\n", `:7: fault 2: kind: "explode" is none of`},
		{"what is not there", head + "[[fault]]\nkind = \"crash\"\n[[fault]]\nat = \"1s\"\n", `:5: fault 2: kind: "" is none of`},
		{"a dotted key", head + "link.loss = 2.0\n", ":3: link.loss"},
		{"inline faults", head + "fault = [{kind = \"crash\", at = \"1h\"}]\n", ":3: fault 1: at: 1h0m0s is not within"},
		{"another case", head + "Nodes = 4\n", ":3: unknown key Nodes"},
		{"another case in a fault", head + "[[fault]]\nkind = \"crash\"\n[[fault]]\nKind = \"heal\"\n", ":6: unknown key fault.1.Kind"},
		{"no number", head + "[link]\nloss = nan\n", ":4: link.loss: NaN is not in"},
		{"no number in a fault", head + "[[fault]]\nkind = \"lose\"\nloss = nan\n", ":5: fault 1: loss: NaN is not in"},
		{"a copy of who is not there", head + "[[fault]]\nkind = \"restore-old\"\nat = \"9s\"\nage = \"5s\"\nnodes = [1]\n[[fault]]\nkind = \"join\"\nat = \"4s\"\nnodes = [1]\n", ":7: fault 1: nodes: 1 joins at 4s, and the copy is made at 4s"},
		{"a date", "duration = \"1m\"\n\nnodes = 1979-05-27\n", ":3: nodes is a date or a time, which no key takes"},
		{"a time in a table", head + "[link]\nloss = 07:32:00\n", ":4: loss is a date or a time"},
		{"a time in an array of tables", head + "fault = [{kind = \"crash\", nodes = [1, 1979-05-27T07:32:00Z]}]\n", ":3: fault is a date or a time"},
		{"a local time of day and date", head + "seed = 1979-05-27 07:32:00\n", ":3: seed is a date or a time"},
		{"a quoted key", "\"duration\" = \"1m\"\n\"no\\u0064es\" = 0\n", ":2: nodes"},
	} {
		name := filepath.Join(t.TempDir(), "bad.toml")
		if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(name)
		var wrong *FileError
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), name+test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, name+test.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
