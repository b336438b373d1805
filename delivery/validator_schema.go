package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/cairn-p2p/cairn/types"
)

// What a payload may be to be held to a schema. It comes from strangers, and the
// work and the memory that it costs grow with these.
const (
	// maxDepth bounds how deep arrays and objects are nested.
	maxDepth = 64
	// maxValues bounds the values and keys of a payload: each that is wrong costs
	// the library an error.
	maxValues = 1 << 15
	// maxNumber bounds the length and the exponent of a number. The library computes
	// exactly: 1e-1000000 takes it a tenth of a second, and beyond that it panics.
	maxNumber = 400
	// maxExponents bounds the sum of the exponents of a payload's numbers, so that
	// exponents make it no more work than digits can.
	maxExponents = types.MaxPayload
)

// Schema is a JSON Schema that payloads are held to. Its dialect is 2020-12
// unless it names another by $schema, draft 4 or later. It is safe for concurrent
// use.
type Schema struct {
	compiled *jsonschema.Schema
}

// errOutside: $ref is the operator's, and still no reason for a node to go
// out and fetch what others then decide about.
var errOutside = errors.New("a schema may only refer to itself and to the standard's own schemas")

// noLoader is where the library looks for other documents.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errOutside }

// schemaURL is what a schema without $id is called. It is never looked up.
const schemaURL = "cairn:///schema"

// ParseSchema reads a JSON Schema. $ref in it may point to the schema itself and
// to the standard's own; nothing is fetched. The caller bounds its size and
// trusts it: with alternatives that recur into the same property, as no sensible schema
// has, the work doubles with each level of a payload.
func ParseSchema(text []byte) (*Schema, error) {
	doc, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, plainSchemaError(err)
	}
	replaceEnums(compiled)
	return &Schema{compiled}, nil
}

// plainSchemaError returns what is wrong with a schema, without the name that
// it only has here.
func plainSchemaError(err error) error {
	var outside *jsonschema.LoadURLError
	if errors.As(err, &outside) {
		return fmt.Errorf("%w: not to %s", errOutside, strings.TrimPrefix(outside.URL, "cairn:///"))
	}
	var wrong *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	if errors.As(err, &wrong) && errors.As(wrong.Err, &invalid) {
		return fmt.Errorf("it is no JSON Schema: %w", first(invalid))
	}
	return err
}

// Check returns nil for a payload that satisfies the schema; otherwise the first
// thing that is wrong with it, by the place in the payload: the same text for the
// same payload, which may quote the payload at length. It must be one JSON value in
// UTF-8 that names no key of an object twice, with at most 64 levels, 32,768
// values and keys, and numbers of at most 400 characters and exponents within ±400
// that sum up to at most 524,288.
func (s *Schema) Check(payload []byte) error {
	v, err := parseJSON(payload)
	if err != nil {
		return err
	}
	err = s.validate(v)
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		return first(invalid)
	}
	return err
}

// validate turns a panic of the library into an error: a stranger's payload must
// not end the node.
func (s *Schema) validate(v any) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("it cannot be held to the schema: %v", why)
		}
	}()
	return s.compiled.Validate(v)
}

// first returns the first of what is wrong, in an order that does not depend on
// that in which the library visits the keys of an object.
func first(err *jsonschema.ValidationError) error {
	var least *jsonschema.ValidationError
	var text string
	walk(err, func(leaf *jsonschema.ValidationError) {
		c := -1
		if least != nil {
			c = slices.Compare(leaf.InstanceLocation, least.InstanceLocation)
		}
		if c > 0 {
			return
		}
		if t := leafText(leaf); c < 0 || t < text {
			least, text = leaf, t
		}
	})
	return errors.New(text)
}

// walk calls visit with each error that says what is wrong: one without a cause
// of its own, or about the name of a key, whose cause does not say where it is.
func walk(err *jsonschema.ValidationError, visit func(*jsonschema.ValidationError)) {
	if _, name := err.ErrorKind.(*kind.PropertyNames); name || len(err.Causes) == 0 {
		visit(err)
		return
	}
	for _, cause := range err.Causes {
		walk(cause, visit)
	}
}

// leafText returns the text of an error, without its causes.
func leafText(err *jsonschema.ValidationError) string {
	leaf := *err
	leaf.Causes = nil
	if k, ok := leaf.ErrorKind.(*kind.AdditionalProperties); ok { // they come in any order
		leaf.ErrorKind = &kind.AdditionalProperties{Properties: slices.Sorted(slices.Values(k.Properties))}
	}
	return leaf.Error()
}

// errNumber: see maxNumber.
var errNumber = fmt.Errorf("a number has over %d characters or an exponent beyond ±%d", maxNumber, maxNumber)

// parseJSON reads one JSON value within the limits, for the library: objects as
// map[string]any, numbers as json.Number.
func parseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is no JSON: it is not in UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil { // the decoder of tokens takes more than JSON
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	p := &parser{decoder: json.NewDecoder(bytes.NewReader(text))}
	p.decoder.UseNumber()
	return p.value()
}

// parser builds a value of the decoder's tokens.
type parser struct {
	decoder *json.Decoder
	depth   int
	values  int
	// exponents is the sum of those of the numbers, without their signs.
	exponents int
}

// count counts a value or a key.
func (p *parser) count() error {
	if p.values++; p.values > maxValues {
		return fmt.Errorf("it has more than %d values and keys", maxValues)
	}
	return nil
}

func (p *parser) value() (any, error) {
	t, err := p.decoder.Token()
	if err == nil {
		err = p.count()
	}
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if p.depth++; p.depth > maxDepth {
			return nil, fmt.Errorf("it is nested more than %d levels deep", maxDepth)
		}
		defer func() { p.depth-- }()
		if t == '{' {
			return p.object()
		}
		return p.array()
	case json.Number:
		return t, p.number(t.String())
	}
	return t, nil
}

func (p *parser) object() (any, error) {
	obj := map[string]any{}
	for p.decoder.More() {
		key, err := p.decoder.Token()
		if err == nil {
			err = p.count()
		}
		if err != nil {
			return nil, err
		}
		name := key.(string) // it is JSON
		if _, again := obj[name]; again {
			return nil, fmt.Errorf("it names the key %q twice in one object", name)
		}
		if obj[name], err = p.value(); err != nil {
			return nil, err
		}
	}
	_, err := p.decoder.Token()
	return obj, err
}

func (p *parser) array() (any, error) {
	arr := []any{}
	for p.decoder.More() {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		arr = append(arr, v)
	}
	_, err := p.decoder.Token()
	return arr, err
}

// number holds the text of a JSON number to what can be computed with.
func (p *parser) number(text string) error {
	if len(text) > maxNumber {
		return errNumber
	}
	i := strings.IndexAny(text, "eE")
	if i < 0 {
		return nil
	}
	n, err := strconv.Atoi(text[i+1:])
	if err != nil || n < -maxNumber || n > maxNumber {
		return errNumber
	}
	if p.exponents += max(n, -n); p.exponents > maxExponents {
		return fmt.Errorf("the exponents of its numbers sum up to more than %d", maxExponents)
	}
	return nil
}
