package delivery

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-p2p/cairn/tomlfile"
	"github.com/cairn-p2p/cairn/types"
)

func publisherNo(n byte) types.Publisher {
	return types.PublisherOf(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
}

func topicID(ref string) (types.TopicID, error) {
	if text, ok := strings.CutPrefix(ref, "id:"); ok {
		return types.ParseCID(text)
	}
	g, err := types.NewOpen(ref)
	if err != nil {
		return types.TopicID{}, err
	}
	return g.ID(), nil
}

func eventOf(p types.Publisher, payload string, tags ...string) *types.Event {
	return &types.Event{Body: types.Body{Publisher: p, Payload: []byte(payload), Tags: tags}}
}

func TestRules(t *testing.T) {
	order, err := ParseSchema([]byte(`{"type": "object", "required": ["qty"], "properties": {"qty": {"type": "integer", "minimum": 1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	one, two := publisherNo(1), publisherNo(2)
	for _, test := range []struct {
		name  string
		rules Rules
		event *types.Event
		want  string // a part of the reason; empty: delivered
	}{
		{"no rules", Rules{}, eventOf(one, "\xff"), ""},
		{"allowed", Rules{Allow: []types.Publisher{one}}, eventOf(one, ""), ""},
		{"not allowed", Rules{Allow: []types.Publisher{one}}, eventOf(two, ""), "publisher " + two.String() + " is not allowed"},
		{"denied", Rules{Deny: []types.Publisher{two}}, eventOf(two, ""), "publisher " + two.String() + " is denied"},
		{"not denied", Rules{Deny: []types.Publisher{two}}, eventOf(one, ""), ""},
		{"allowed and denied", Rules{Allow: []types.Publisher{two}, Deny: []types.Publisher{two}}, eventOf(two, ""), "denied"},
		{"as large as may be", Rules{MaxPayload: 3}, eventOf(one, "abc"), ""},
		{"too large", Rules{MaxPayload: 3}, eventOf(one, "abcd"), "payload of 4 bytes, limit 3"},
		{"all tags", Rules{Tags: []string{"a", "b"}}, eventOf(one, "", "a", "b", "c"), ""},
		{"one tag of two", Rules{Tags: []string{"a", "b"}}, eventOf(one, "", "a", "c"), `no tag "b"`},
		{"schema", Rules{Schema: order}, eventOf(one, `{"qty": 2}`), ""},
		{"no JSON", Rules{Schema: order}, eventOf(one, `qty: 2`), "payload: it is no JSON: invalid character 'q'"},
		{"nothing", Rules{Schema: order}, eventOf(one, ``), "payload: it is no JSON"},
		{"another type", Rules{Schema: order}, eventOf(one, `{"qty": "2"}`), "payload: at '/qty': got string, want integer"},
		{"another value", Rules{Schema: order}, eventOf(one, `{"qty": 0}`), "payload: at '/qty': minimum: got 0, want 1"},
		{"a key is missing", Rules{Schema: order}, eventOf(one, `{}`), "payload: at '': missing property 'qty'"},
	} {
		got := test.rules.Check(test.event)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Whatever a stranger's payload is, the reason is the same each time, one line of
// text within the limit.
func TestReasons(t *testing.T) {
	s, err := ParseSchema([]byte(`{"type": "object", "additionalProperties": false,
		"propertyNames": {"maxLength": 2},
		"properties": {"a": {"type": "string", "pattern": "^x*$"}, "b": {"enum": [1, 2]}, "c": {"type": "array", "items": {"type": "number"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := Rules{Schema: s}
	for payload, want := range map[string]string{
		`{"a": "` + strings.Repeat("ü", 300) + `"}`: "at '/a': '",
		`{"a": "\u0000\u001b[31m\n"}`:               "at '/a': '",
		`{"z": 1, "y": 2, "x": 3, "w": 4}`:          "at '': additional properties 'w', 'x', 'y', 'z' not allowed",
		`{"c": ["1", 2, "3"], "b": 7, "a": 9}`:      "at '/a': got number, want string",
		`{"c": ["1", 2, "3"]}`:                      "at '/c/0': got string, want number",
		`{"long": 1}`:                               "long",
		`{"b": 1, "b": 2}`:                          `it names the key "b" twice in one object`,
		"{\"\xff\": 1}":                             "UTF-8",
	} {
		first := r.Check(eventOf(publisherNo(1), payload))
		if !strings.Contains(first, want) || len(first) > MaxReason || !utf8.ValidString(first) || strings.ContainsFunc(first, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%.60q: reason of %d bytes %q, want %q", payload, len(first), first, want)
		}
		for range 50 {
			if again := r.Check(eventOf(publisherNo(1), payload)); again != first {
				t.Errorf("%.60q: %q, and then %q", payload, first, again)
				break
			}
		}
	}
}

// What would cost a node time or memory is refused before the schema is looked at.
func TestHostilePayloads(t *testing.T) {
	s, err := ParseSchema([]byte(`{"items": {"maxLength": 1, "items": true}, "maximum": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for payload, want := range map[string]string{
		"[1e999999999]":          "a number has over 400 characters",
		"[-1E-999999999]":        "a number has over 400 characters",
		"[1e99999999999999999]":  "a number has over 400 characters",
		strings.Repeat("9", 401): "a number has over 400 characters",
		"[1e300]":                "",
		nested(maxDepth):         "",
		nested(maxDepth + 1):     "it is nested more than 64 levels deep",
		nested(20_000):           "it is no JSON", // by what the standard library allows
		"[" + strings.Repeat("1e-16,", maxValues-2) + "1e-16]":               "",
		"[" + strings.Repeat("1e17,", maxValues-2) + "1e17]":                 "the exponents of its numbers sum up to more than 524288",
		"[" + strings.Repeat("1e-400,", types.MaxPayload/400) + "1e-400]":    "the exponents of its numbers sum up to more than 524288",
		"[" + strings.Repeat("1,", maxValues-2) + "1]":                       "",
		"[" + strings.Repeat("1,", maxValues-1) + "1]":                       "it has more than 32768 values",
		`{"a": [` + strings.Repeat(`{"b":1},`, maxValues/3) + `{"b":1}]}`:    "it has more than 32768 values",
		"[" + strings.Repeat("0.05,", types.MaxPayload/5-2) + "0.05" + "  ]": "it has more than 32768 values",
	} {
		err := s.Check([]byte(payload))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s…: %v, want %q", payload, err, want)
		}
	}
}

// A list of values takes what the library takes, wherever in a schema it is.
func TestEnums(t *testing.T) {
	values := []string{
		`null`, `true`, `false`, `0`, `-0.0`, `1`, `1.0`, `10e-1`, `-1`, `100`, `1e2`, `0.10E3`, `1e+2`, `1.5`, `15e-1`, `0.0015`, `1e-400`, `1e400`,
		`""`, `"1"`, `"a"`, `"\u0061"`, `"null"`, `[]`, `[1]`, `[1.0]`, `[[1]]`, `[1,2]`, `[2,1]`, `["a","b"]`, `["ab"]`, `["a,b"]`,
		`{}`, `{"a":1}`, `{"a":1e0}`, `{"a":2}`, `{"b":1}`, `{"a":1,"b":2}`, `{"b":2,"a":1}`, `{"a":{"b":2}}`,
	}
	library := func(text string) *Schema {
		doc, err := parseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(schemaURL, doc); err != nil {
			t.Fatal(err)
		}
		return &Schema{c.MustCompile(schemaURL)}
	}
	for _, want := range values {
		text := `{"enum": ["other", ` + want + `]}`
		s, err := ParseSchema([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range values {
			ours, theirs := s.Check([]byte(got)), library(text).Check([]byte(got))
			if (ours == nil) != (theirs == nil) || ours != nil && ours.Error() != theirs.Error() {
				t.Errorf("%s in [%s]: %v, the library %v", got, want, ours, theirs)
			}
		}
	}
}

// An enum costs no more with the number of its values, wherever it is: the
// library's own compares each, and allocates for it.
func TestEnumsCostOneLookUp(t *testing.T) {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprint(i))
	}
	enum := `{"enum": [` + strings.Join(list, ",") + `]}`
	for _, keywords := range []string{
		`"items": E`, `"prefixItems": [true, E], "items": {"$ref": "#/prefixItems/1"}`, `"contains": E, "minContains": 0`, `"unevaluatedItems": E`,
		`"items": {"allOf": [E]}`, `"items": {"anyOf": [E]}`, `"items": {"oneOf": [E]}`, `"items": {"not": E}`,
		`"items": {"if": E, "then": E, "else": E}`, `"items": {"$ref": "#/$defs/e"}, "$defs": {"e": E}`,
		`"items": {"$dynamicRef": "#e"}, "$defs": {"e": {"$dynamicAnchor": "e", "allOf": [E]}}`,
		`"$schema": "http://json-schema.org/draft-07/schema#", "items": [true], "additionalItems": E`,
		`"$schema": "http://json-schema.org/draft-07/schema#", "items": [E, E, E, E]`,
	} {
		s, err := ParseSchema([]byte("{" + strings.ReplaceAll(keywords, "E", enum) + "}"))
		if err != nil {
			t.Fatal(err)
		}
		payload := []byte("[" + strings.Repeat("-7,", 99) + "-7]")
		// The library's own allocates for each of 1,000 values; others' goroutines count, too.
		if n := testing.AllocsPerRun(5, func() { s.Check(payload) }); n > 100*300 { //nolint:errcheck // whatever it says
			t.Errorf("%s: %.0f allocations for 100 numbers", keywords, n)
		}
	}
}

// BenchmarkFullPayload holds the most work that a payload can be to some schemas.
func BenchmarkFullPayload(b *testing.B) {
	var list []string
	for i := range 256 {
		list = append(list, fmt.Sprint(i))
	}
	full := func(number string) string {
		n := min(maxValues-1, types.MaxPayload/(len(number)+1))
		return "[" + strings.Repeat(number+",", n-1) + number + "]"
	}
	for name, keyword := range map[string]string{"enum": `"enum":[` + strings.Join(list, ",") + `]`, "multipleOf": `"multipleOf":0.3`, "minimum": `"minimum":0`} {
		s, err := ParseSchema([]byte(`{"items": {` + keyword + `}}`))
		if err != nil {
			b.Fatal(err)
		}
		for _, number := range []string{"-7", "-7e-15", "-0." + strings.Repeat("7", maxNumber-3)} {
			payload := []byte(full(number))
			b.Run(fmt.Sprintf("%s/%.8s", name, number), func(b *testing.B) {
				for b.Loop() {
					if s.Check(payload) == nil {
						b.Fatal("it is valid")
					}
				}
			})
		}
	}
}

// Between two large payloads that a validator looks at, a call may end, and others
// get at the consumer.
func TestLargePayloadsAreLookedAtOneByOne(t *testing.T) {
	b := newBench(t)
	var events []*types.Event
	for i := range 5 {
		e, err := types.NewEvent(types.Body{
			Topic: b.topic.ID(), Publisher: types.Publisher{1}, Seq: uint64(i) + 1, Height: 1, Payload: make([]byte, 4<<10),
		})
		must(t, err)
		events = append(events, e)
	}
	must(t, b.integrate(events...))
	ctx, cancel := context.WithCancel(t.Context())
	looked := 0
	b.validator = rule(func(*types.Event) string {
		looked++
		cancel()
		return "unwelcome"
	})
	c := b.create(t, Settings{})
	if _, err := c.Next(ctx, 1, 0); !errors.Is(err, context.Canceled) || looked != 1 {
		t.Errorf("%d events were looked at: %v", looked, err)
	}
	if ds, err := c.Next(t.Context(), 1, 0); err != nil || len(ds) > 0 || looked != len(events) {
		t.Errorf("%d events were looked at: %v, %v", looked, ds, err)
	}
}

// No $ref leaves the schema, but for the standard's own schemas.
func TestSchemaStaysInside(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.json")
	if err := os.WriteFile(other, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"http://127.0.0.1:1/x.json", "https://example.org/x.json", "file://" + other, "other.json", other} {
		if _, err := ParseSchema(fmt.Appendf(nil, `{"$ref": %q}`, ref)); !errors.Is(err, errOutside) {
			t.Errorf("$ref to %s: %v", ref, err)
		}
	}
	for _, good := range []string{
		`{"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}`,
		`{"$id": "https://example.org/order", "$ref": "order#/$defs/a", "$defs": {"a": {"type": "string"}}}`,
		`{"$ref": "#"}`,
		`{"$ref": "https://json-schema.org/draft/2020-12/schema"}`,
		`{"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"}`,
		`true`,
	} {
		if _, err := ParseSchema([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// What the library cannot cope with suppresses a payload, and does not end the
// node: it panics at a number that it cannot compute with, which Check lets through
// to it no more.
func TestSchemaPanic(t *testing.T) {
	s, err := ParseSchema([]byte(`{"maximum": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.validate(json.Number("1e9999999")); err == nil || !strings.Contains(err.Error(), "cannot be held to the schema") {
		t.Errorf("a panic of the library ends as %v", err)
	}
}

// Several goroutines may hold events to one schema.
func TestSchemaConcurrently(t *testing.T) {
	s, err := ParseSchema([]byte(`{"type": "array", "uniqueItems": true, "items": {"pattern": "^a", "type": "string"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := Rules{Schema: s}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 100 {
				if got := r.Check(eventOf(publisherNo(1), `["a", "b"]`)); !strings.Contains(got, "'b' does not match") {
					t.Error(got)
				}
			}
		})
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, -2.5e3, "x", true, null]}`, `[1 2]`, `[1,]`, `{"a":1,}`, `"\ud800"`, `1 2`, `{1: 2}`, ``} {
		f.Add([]byte(s))
	}
	s, err := ParseSchema([]byte(`{"uniqueItems": true, "multipleOf": 3, "additionalProperties": {"type": "string"}, "items": {"minLength": 2}}`))
	if err != nil {
		f.Fatal(err)
	}
	r := Rules{Schema: s}
	f.Fuzz(func(t *testing.T, text []byte) {
		e := eventOf(types.Publisher{}, string(text))
		reason := r.Check(e)
		if len(reason) > MaxReason || !utf8.ValidString(reason) || reason != r.Check(e) {
			t.Errorf("reason %q, and then %q", reason, r.Check(e))
		}
	})
}

func TestLoadRules(t *testing.T) {
	one, two, three := publisherNo(1), publisherNo(2), publisherNo(3)
	restricted, err := types.NewRestricted("ledger", one, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "order.json", `{"type": "object"}`)
	s, err := LoadRules(write(t, dir, "rules.toml", fmt.Sprintf(`
[default]
deny = [%q]
max_payload = 100

[topics.Orders]
require_tags = ["b", "a", "a"]
schema = "order.json"

[topics."id:%s"]
allow = [%q]
max_payload = 0

[topics."a.b"]
deny = []
max_payload = 0
`, three, restricted.ID(), one)), topicID)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		topic string
		event *types.Event
		want  string
	}{
		{"Orders", eventOf(one, "{}", "a", "b"), ""},
		{"Orders", eventOf(one, "{}", "b"), `no tag "a"`},
		{"Orders", eventOf(one, "[]", "a", "b"), "got array, want object"},
		{"Orders", eventOf(three, "{}", "a", "b"), "denied"}, // as by default
		{"Orders", eventOf(one, strings.Repeat(" ", 101), "a", "b"), "limit 100"},
		{"id:" + restricted.ID().String(), eventOf(two, ""), "not allowed"},
		{"id:" + restricted.ID().String(), eventOf(three, ""), "denied"},
		{"id:" + restricted.ID().String(), eventOf(one, strings.Repeat(" ", 101)), ""},
		{"anything", eventOf(one, ""), ""},
		{"anything", eventOf(three, ""), "denied"},
	} {
		id, err := topicID(test.topic)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Validator(id).Check(test.event)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("topic %s: %q, want %q", test.topic, got, test.want)
		}
	}
	id, err := topicID("a.b")
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Validator(id); v != nil {
		t.Errorf("topic without rules has validator %v", v)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An error in a file says where it is.
func TestLoadRulesRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "broken.json", `{"type": "strin"}`)
	write(t, dir, "text.json", `type: string`)
	write(t, dir, "outside.json", `{"$ref": "https://example.org/x"}`)
	write(t, dir, "large.json", `"`+strings.Repeat("x", maxSchemaFile)+`"`)
	g, err := types.NewOpen("orders")
	if err != nil {
		t.Fatal(err)
	}
	many := strings.Repeat(fmt.Sprintf("%q,", publisherNo(1)), maxRulePublishers+1)
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "[default]\nmax_payloads = 3\n", ":2: unknown key default.max_payloads"},
		{"unknown key of a topic", "[topics.orders]\n\nsize = 3\n", ":3: unknown key topics.orders.size"},
		{"capitals", "[default]\nDeny = []\n", ":2: unknown key default.Deny, all are in lower case"},
		{"capitals of a topic", "[topics.A]\n[topics.\"B.C\"]\nSchema = \"\"\n", ":3: unknown key topics.B.C.Schema, all are"},
		{"a table in capitals", "[Default]\n", ":1: unknown key Default, all are"},
		{"unknown table", "[topic.orders]\ndeny = []\n", ":1: unknown key topic"},
		{"no TOML", "[default]\ndeny = [\n", ":2: "},
		{"wrong type", "[default]\n\nallow = \"x\"\n", ":3: "},
		{"twice", "[topics.a]\n[topics.b]\n[topics.a]\n", ":3: "},
		{"no publisher", "[default]\nmax_payload = 3\nallow = [\"me\"]\n", ":3: invalid argument: peer id of 2 characters"},
		{"too many publishers", "[default]\ndeny = [" + many + "]\n", ":2: 257 publishers, limit 256"},
		{"negative payload", "[topics.a]\n[topics.orders]\nmax_payload = -1\n", ":3: -1 bytes is not in [0, 524288]"},
		{"payload beyond the protocol", "[topics.\"a b\"]\nmax_payload = 524289\n", ":2: 524289 bytes is not in"},
		{"empty tag", "[default]\nrequire_tags = [\"\"]\n", ":2: tag of 0 bytes"},
		{"too many tags", "[default]\nrequire_tags = [" + numbered(17) + "]\n", ":2: 17 tags, limit 16"},
		{"no topic", "[topics.\"\"]\n", ":1: "},
		{"no id", "[topics.a]\n[topics.\"id:xyz\"]\n", ":2: "},
		{"one topic twice", "[topics.orders]\n\n[topics.\"id:" + g.ID().String() + "\"]\n", `:3: topic "id:` + g.ID().String() + `" has rules already, as "orders"`},
		{"no schema", "[default]\nschema = \"none.json\"\n", ":2: schema none.json: open "},
		{"large schema", "[default]\nschema = \"large.json\"\n", ":2: schema large.json: "},
		{"broken schema", "[topics.orders]\nschema = \"broken.json\"\n", ":2: schema broken.json: it is no JSON Schema: at '/type': "},
		{"schema that is no JSON", "[topics.orders]\nschema = \"text.json\"\n", ":2: schema text.json: it is no JSON: "},
		{"schema on the net", "[topics.orders]\nschema = \"outside.json\"\n", ":2: schema outside.json: "},
		{"dotted key", "default.max_payload = 3\ntopics.orders.max_payload = -3\n", ":2: -3 bytes"},
	} {
		name := write(t, dir, "bad.toml", test.text)
		_, err := LoadRules(name, topicID)
		var wrong *tomlfile.Error
		if !errors.As(err, &wrong) || !errors.Is(err, types.ErrInvalidArgument) || !strings.HasPrefix(err.Error(), name+test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, name+test.want)
		}
	}
	if _, err := LoadRules(filepath.Join(dir, "none.toml"), topicID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if s, err := LoadRules(write(t, dir, "empty.toml", ""), topicID); err != nil || s.Validator(g.ID()) != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// numbered returns n strings of TOML.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\"%02d\",", i)
	}
	return b.String()
}

func BenchmarkSchema(b *testing.B) {
	s, err := ParseSchema([]byte(`{"type": "object", "required": ["id", "qty"], "properties": {"id": {"type": "string", "maxLength": 64}, "qty": {"type": "integer", "minimum": 1}}}`))
	if err != nil {
		b.Fatal(err)
	}
	r := Rules{Schema: s}
	e := eventOf(publisherNo(1), fmt.Sprintf(`{"id": "%d", "qty": 3, "note": %q}`, rand.Uint64(), strings.Repeat("x", 180)))
	b.ReportAllocs()
	for b.Loop() {
		if got := r.Check(e); got != "" {
			b.Fatal(got)
		}
	}
}

// The file of the documentation is one.
func TestDocumentedRules(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "validators.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```toml\n")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/validators.md has no TOML")
	}
	dir := t.TempDir()
	write(t, dir, "order.json", `{"type": "object"}`)
	s, err := LoadRules(write(t, dir, "rules.toml", block), topicID)
	if err != nil {
		t.Fatal(err)
	}
	id, err := topicID("orders")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Validator(id).Check(eventOf(publisherNo(2), "{}", "order")); got != "" {
		t.Error(got)
	}
	if got := s.Validator(id).Check(eventOf(s.defaults.Deny[0], "{}", "order")); !strings.Contains(got, "denied") {
		t.Errorf("denied by default: %q", got)
	}
}
