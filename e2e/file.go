package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/cairn-p2p/cairn/tomlfile"
)

// maxFile bounds what is read of a scenario's file: enough for MaxFaults.
const maxFile = 4 << 20

// FileError says where a scenario's file is wrong. Its text begins with
// FILE:LINE:.
type FileError = tomlfile.Error

// file is a scenario as a TOML file has it.
type file struct {
	Name     string     `toml:"name,omitempty"`
	About    string     `toml:"about,omitempty"`
	Nodes    int        `toml:"nodes"`
	Topics   int        `toml:"topics,omitempty"`
	Events   int        `toml:"events,omitempty"`
	Size     int        `toml:"size,omitempty"`
	Writers  int        `toml:"writers,omitempty"`
	Duration duration   `toml:"duration"`
	DHT      bool       `toml:"dht,omitempty"`
	Seed     int64      `toml:"seed,omitempty"`
	Link     fileLink   `toml:"link,omitempty"`
	Faults   []fault    `toml:"fault,omitempty"`
	Expect   fileExpect `toml:"expect,omitempty"`
}

type fileLink struct {
	Latency   duration `toml:"latency,omitempty"`
	Jitter    duration `toml:"jitter,omitempty"`
	Loss      float64  `toml:"loss,omitempty"`
	Bandwidth int      `toml:"bandwidth,omitempty"`
}

type fault struct {
	At         duration `toml:"at"`
	Kind       Kind     `toml:"kind"`
	Nodes      []int    `toml:"nodes,omitempty"`
	Pick       int      `toml:"pick,omitempty"`
	For        duration `toml:"for,omitempty"`
	Asymmetric bool     `toml:"asymmetric,omitempty"`
	Loss       float64  `toml:"loss,omitempty"`
	Delay      duration `toml:"delay,omitempty"`
	Bandwidth  int      `toml:"bandwidth,omitempty"`
	Skew       duration `toml:"skew,omitempty"`
	Age        duration `toml:"age,omitempty"`
	Behaviour  string   `toml:"behaviour,omitempty"`
	Count      int      `toml:"count,omitempty"`
}

type fileExpect struct {
	Within duration `toml:"within,omitempty"`
}

// duration is a time.Duration as text.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is no duration, want for example "1m30s" or "250ms"`, text)
	}
	*d = duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Load reads a scenario from a TOML file of at most 4 MiB. Its keys are those of
// docs/simulation.md, and any other is an error. A scenario without a name has
// the file's. The error is a *FileError for what is wrong in the file.
func Load(name string) (Scenario, error) {
	text, err := tomlfile.Read(name, maxFile)
	if err != nil {
		return Scenario{}, err // which names the file
	}
	s, err := parse(text)
	var wrong *FileError
	if errors.As(err, &wrong) {
		wrong.File = name
	}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	}
	return s, err
}

// parse reads a scenario. The error is a *FileError without a file.
func parse(text []byte) (Scenario, error) {
	var f file
	if err := tomlfile.Decode(text, &f); err != nil {
		return Scenario{}, err
	}
	at := tomlfile.Lines(text)
	if name := foreign(at); name != "" {
		return Scenario{}, &FileError{Line: at[name], Err: fmt.Errorf("unknown key %s, all are in lower case", name)}
	}
	s := f.scenario()
	err := s.Validate()
	var wrong *FieldError
	if errors.As(err, &wrong) {
		return s, &FileError{Line: at.Of(wrong.key()), Err: err}
	}
	return s, err
}

// foreign returns the first name that is written otherwise than the keys of a
// scenario, which the decoder does not mind; "": none is.
func foreign(at tomlfile.Places) string {
	first := ""
	for name, line := range at {
		if name != strings.ToLower(name) && (first == "" || line < at[first]) {
			first = name
		}
	}
	return first
}

// key returns the field's name in a file.
func (e *FieldError) key() string {
	if e.Fault < 0 {
		return e.Field
	}
	return fmt.Sprintf("fault.%d.%s", e.Fault, e.Field)
}

func (f *file) scenario() Scenario {
	s := Scenario{
		Name: f.Name, About: f.About, Nodes: f.Nodes, Topics: f.Topics, Events: f.Events, Size: f.Size,
		Writers: f.Writers, Duration: time.Duration(f.Duration), DHT: f.DHT, Seed: uint64(f.Seed),
		Link: Link{
			Latency: time.Duration(f.Link.Latency), Jitter: time.Duration(f.Link.Jitter),
			Loss: f.Link.Loss, Bandwidth: f.Link.Bandwidth,
		},
		Expect: Expect{Within: time.Duration(f.Expect.Within)},
	}
	for _, a := range f.Faults {
		s.Faults = append(s.Faults, Fault{
			At: time.Duration(a.At), Kind: a.Kind, Nodes: a.Nodes, Pick: a.Pick, For: time.Duration(a.For),
			Asymmetric: a.Asymmetric, Loss: a.Loss, Delay: time.Duration(a.Delay),
			Bandwidth: a.Bandwidth, Skew: time.Duration(a.Skew), Age: time.Duration(a.Age),
			Behaviour: a.Behaviour, Count: a.Count,
		})
	}
	return s
}

// TOML returns the scenario as a file for Load.
func (s Scenario) TOML() ([]byte, error) {
	f := file{
		Name: s.Name, About: s.About, Nodes: s.Nodes, Topics: s.Topics, Events: s.Events, Size: s.Size,
		Writers: s.Writers, Duration: duration(s.Duration), DHT: s.DHT, Seed: int64(s.Seed),
		Link: fileLink{
			Latency: duration(s.Link.Latency), Jitter: duration(s.Link.Jitter),
			Loss: s.Link.Loss, Bandwidth: s.Link.Bandwidth,
		},
		Expect: fileExpect{Within: duration(s.Expect.Within)},
	}
	for _, a := range s.Faults {
		f.Faults = append(f.Faults, fault{
			At: duration(a.At), Kind: a.Kind, Nodes: a.Nodes, Pick: a.Pick, For: duration(a.For),
			Asymmetric: a.Asymmetric, Loss: a.Loss, Delay: duration(a.Delay),
			Bandwidth: a.Bandwidth, Skew: duration(a.Skew), Age: duration(a.Age),
			Behaviour: a.Behaviour, Count: a.Count,
		})
	}
	text, err := toml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write scenario %q: %w", s.Name, err)
	}
	return text, nil
}
