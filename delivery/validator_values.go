package delivery

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// enum is the keyword of that name, by one look-up. The library compares a value
// with each of the list, numbers as fractions: a payload full of numbers held to
// a list of sixty took it seconds.
type enum struct {
	values  []any
	keys    map[string]bool
	longest int // of the keys
}

func newEnum(values []any) *enum {
	e := &enum{values: values, keys: make(map[string]bool, len(values))}
	for _, v := range values {
		key, _ := appendKey(nil, v, math.MaxInt)
		e.keys[string(key)] = true
		e.longest = max(e.longest, len(key))
	}
	return e
}

// Validate implements jsonschema.SchemaExt.
func (e *enum) Validate(ctx *jsonschema.ValidatorContext, v any) {
	if key, ok := appendKey(nil, v, e.longest); !ok || !e.keys[string(key)] {
		ctx.AddError(&kind.Enum{Got: v, Want: e.values})
	}
}

// appendKey appends what equal JSON values have in common, and no others. It is not
// ok, and cut, where it is longer than limit.
func appendKey(b []byte, v any, limit int) (_ []byte, ok bool) {
	switch v := v.(type) {
	case nil:
		b = append(b, 'z')
	case bool:
		b = strconv.AppendBool(b, v)
	case string:
		b = append(appendLength(b, 's', len(v)), v...)
	case json.Number:
		text := plainNumber(v.String())
		b = append(appendLength(b, 'n', len(text)), text...)
	case []any:
		b = appendLength(b, 'a', len(v))
		for _, item := range v {
			if b, ok = appendKey(b, item, limit); !ok {
				return b, false
			}
		}
	case map[string]any:
		b = appendLength(b, 'o', len(v))
		if len(b)+len(v) > limit {
			return b, false
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			b = append(appendLength(b, 's', len(name)), name...)
			if b, ok = appendKey(b, v[name], limit); !ok {
				return b, false
			}
		}
	}
	return b, len(b) <= limit
}

func appendLength(b []byte, kind byte, n int) []byte {
	return binary.AppendUvarint(append(b, kind), uint64(n))
}

// plainNumber returns the one text that all texts of a JSON number have in common:
// its digits without zeros at either end, and an exponent.
func plainNumber(text string) string {
	digits, negative := strings.CutPrefix(text, "-")
	exponent := 0
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		exponent, _ = strconv.Atoi(digits[i+1:]) // the parser has seen it
		digits = digits[:i]
	}
	if i := strings.IndexByte(digits, '.'); i >= 0 {
		exponent -= len(digits) - i - 1
		digits = digits[:i] + digits[i+1:]
	}
	digits = strings.TrimLeft(digits, "0")
	all := len(digits)
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		return "0"
	}
	digits += "e" + strconv.Itoa(exponent+all-len(digits))
	if negative {
		return "-" + digits
	}
	return digits
}

// replaceEnums makes every list of values in a compiled schema an enum. It goes by
// the types of the library's fields, so that none is left out.
func replaceEnums(s *jsonschema.Schema) {
	done := map[*jsonschema.Schema]bool{}
	var each func(v reflect.Value)
	each = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return
			}
			if v.Type() != reflect.TypeFor[*jsonschema.Schema]() {
				if v.Type() == reflect.TypeFor[*jsonschema.DynamicRef]() {
					each(v.Elem())
				}
				return
			}
			s := (*jsonschema.Schema)(v.UnsafePointer()) // some fields are not exported
			if done[s] {
				return
			}
			done[s] = true
			if s.Enum != nil {
				s.Extensions, s.Enum = append(s.Extensions, newEnum(s.Enum.Values)), nil
			}
			each(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				each(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				each(v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				each(v.MapIndex(key))
			}
		case reflect.Interface:
			if !v.IsNil() {
				each(v.Elem())
			}
		}
	}
	each(reflect.ValueOf(s))
}
