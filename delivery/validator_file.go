package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-p2p/cairn/tomlfile"
	"github.com/cairn-p2p/cairn/types"
)

// Limits of a file of rules.
const (
	maxRulesFile  = 4 << 20
	maxSchemaFile = 1 << 20
	// maxRuleTopics bounds the topics with rules of their own, each of which may
	// have a schema of its own in memory.
	maxRuleTopics = 4096
	// maxRulePublishers bounds a list, which every event is held to.
	maxRulePublishers = 256
)

// RuleSet are the Rules of a node's topics, as a file has them. It never changes,
// and is safe for concurrent use.
type RuleSet struct {
	defaults *Rules
	topics   map[types.TopicID]*Rules
}

// Validator returns what the events of a topic are held to, or nil when nothing
// is suppressed. It is what node.Config.Validator wants.
func (s *RuleSet) Validator(topic types.TopicID) Validator {
	r, ok := s.topics[topic]
	if !ok {
		r = s.defaults
	}
	if r.none() {
		return nil
	}
	return r
}

// fileRules are rules as a TOML file has them. What a topic's table leaves out is
// as in the table default; nil: it is left out.
type fileRules struct {
	Allow      *[]string `toml:"allow"`
	Deny       *[]string `toml:"deny"`
	MaxPayload *int      `toml:"max_payload"`
	Tags       *[]string `toml:"require_tags"`
	Schema     *string   `toml:"schema"`
}

// LoadRules reads a TOML file of at most 4 MiB: docs/validators.md has its keys,
// and any other is an error. Its names of schemas, of at most 1 MiB each, are
// relative to it. topicID returns the id of a topic that the file refers to, as
// node.ParseTopicRef does. The error is a *tomlfile.Error for what is wrong in the
// file.
func LoadRules(name string, topicID func(ref string) (types.TopicID, error)) (*RuleSet, error) {
	text, err := tomlfile.Read(name, maxRulesFile)
	if err != nil {
		return nil, err
	}
	l := &loader{dir: filepath.Dir(name), topicID: topicID, schemas: map[string]*Schema{}}
	s, err := l.load(text)
	var wrong *tomlfile.Error
	if errors.As(err, &wrong) {
		wrong.File = name
	}
	return s, err
}

// loader reads one file.
type loader struct {
	dir     string
	topicID func(ref string) (types.TopicID, error)
	schemas map[string]*Schema // by their names in the file
}

func (l *loader) load(text []byte) (*RuleSet, error) {
	var f struct {
		Default fileRules            `toml:"default"`
		Topics  map[string]fileRules `toml:"topics"`
	}
	if err := tomlfile.Decode(text, &f); err != nil {
		return nil, err
	}
	at := tomlfile.Lines(text)
	wrong := func(key string, err error) error { return &tomlfile.Error{Line: at.Of(key), Err: err} }
	if key := foreign(at, f.Topics); key != "" {
		return nil, wrong(key, fmt.Errorf("unknown key %s, all are in lower case", key))
	}
	if len(f.Topics) > maxRuleTopics {
		return nil, wrong("topics", fmt.Errorf("%d topics, limit %d", len(f.Topics), maxRuleTopics))
	}
	s := &RuleSet{topics: map[types.TopicID]*Rules{}}
	var key string
	var err error
	if s.defaults, key, err = l.rules(f.Default, Rules{}); err != nil {
		return nil, wrong("default."+key, err)
	}
	names := map[types.TopicID]string{}
	line := func(ref string) int { return at.Of("topics." + ref) }
	refs := slices.SortedFunc(maps.Keys(f.Topics), func(a, b string) int {
		return cmp.Or(cmp.Compare(line(a), line(b)), strings.Compare(a, b))
	})
	for _, ref := range refs {
		id, err := l.topicID(ref)
		if err != nil {
			return nil, wrong("topics."+ref, err)
		}
		if other, again := names[id]; again {
			return nil, wrong("topics."+ref, fmt.Errorf("topic %q has rules already, as %q", ref, other))
		}
		names[id] = ref
		if s.topics[id], key, err = l.rules(f.Topics[ref], *s.defaults); err != nil {
			return nil, wrong("topics."+ref+"."+key, err)
		}
	}
	return s, nil
}

// foreign returns the first key that is written in capitals, which the decoder does
// not mind, other than the name of a topic; "": none is.
func foreign(at tomlfile.Places, topics map[string]fileRules) string {
	first := ""
	for name, line := range at {
		key := name
		if ref, ok := strings.CutPrefix(name, "topics."); ok {
			if _, table := topics[ref]; table {
				continue
			}
			dot := strings.LastIndexByte(ref, '.')
			if _, of := topics[ref[:max(dot, 0)]]; of {
				key = ref[dot+1:]
			}
		}
		if key != strings.ToLower(key) && (first == "" || line < at[first]) {
			first = name
		}
	}
	return first
}

// rules returns what f says, and for what it leaves out what r says. key is that
// of what is wrong.
func (l *loader) rules(f fileRules, r Rules) (_ *Rules, key string, err error) {
	for _, list := range []struct {
		key  string
		text *[]string
		to   *[]types.Publisher
	}{{"allow", f.Allow, &r.Allow}, {"deny", f.Deny, &r.Deny}} {
		if list.text == nil {
			continue
		}
		if *list.to, err = publishers(*list.text); err != nil {
			return nil, list.key, err
		}
	}
	if f.MaxPayload != nil {
		if r.MaxPayload = *f.MaxPayload; r.MaxPayload < 0 || r.MaxPayload > types.MaxPayload {
			return nil, "max_payload", fmt.Errorf("%d bytes is not in [0, %d]", r.MaxPayload, types.MaxPayload)
		}
	}
	if f.Tags != nil {
		slices.Sort(*f.Tags)
		r.Tags = slices.Compact(*f.Tags)
		if err := types.CheckTags(r.Tags); err != nil {
			return nil, "require_tags", err
		}
	}
	if f.Schema != nil {
		if r.Schema, err = l.schema(*f.Schema); err != nil {
			return nil, "schema", fmt.Errorf("schema %s: %w", *f.Schema, err)
		}
	}
	return &r, "", nil
}

func publishers(texts []string) ([]types.Publisher, error) {
	if len(texts) > maxRulePublishers {
		return nil, fmt.Errorf("%d publishers, limit %d", len(texts), maxRulePublishers)
	}
	var list []types.Publisher
	for _, text := range texts {
		p, err := types.ParsePublisher(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// schema returns the schema in a file, nil for no name.
func (l *loader) schema(name string) (*Schema, error) {
	if s, ok := l.schemas[name]; ok || name == "" {
		return s, nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.dir, path)
	}
	text, err := tomlfile.Read(path, maxSchemaFile)
	if err != nil {
		return nil, err
	}
	s, err := ParseSchema(text)
	if err != nil {
		return nil, err
	}
	l.schemas[name] = s
	return s, nil
}
