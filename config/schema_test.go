package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/ropeline/ropeline/golden"
)

// object is a JSON object.
type object = map[string]any

// fileSchema describes the whole file for editors, from the tags that Load reads
// by. It says what one value may be; what values mean together only Load can tell.
func fileSchema() object {
	s := structSchema(reflect.TypeFor[Config](), field{})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Ropeline"
	s["type"] = "object"
	s["patternProperties"] = object{"^x-": object{"description": "A place for parts that aliases name. Not read."}}
	s["$defs"] = object{"environment": object{
		"description": "Filled in from the environment: ${NAME} or ${NAME:-default}.",
		"type":        "string",
		"pattern":     `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`,
	}}
	return s
}

func structSchema(t reflect.Type, parent field) object {
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		properties[f.name] = valueSchema(t.Field(f.index).Type, parent.below(f))
		if f.required {
			required = append(required, f.name)
		}
	}
	// A section whose keys are all commented out is null.
	s := object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["type"], s["required"] = "object", required
	}
	return s
}

func valueSchema(t reflect.Type, f field) object {
	var s object
	switch {
	case isScalar(t):
		s = scalarSchema(t, f)
	case f.named:
		s = object{
			"type":                 []string{"object", "null"},
			"propertyNames":        object{"pattern": f.form.pattern.String()},
			"additionalProperties": structSchema(t.Elem(), f),
		}
		if f.required {
			s["type"], s["minProperties"] = "object", 1
		}
	case t.Kind() == reflect.Slice:
		item := f
		item.doc, item.standard = "", ""
		s = object{"type": []string{"array", "null"}, "items": valueSchema(t.Elem(), item)}
		if f.required {
			s["type"], s["minItems"] = "array", 1
		}
	case t.Kind() == reflect.Map:
		s = object{"type": []string{"object", "null"}}
	default:
		s = structSchema(t, f)
		if bare, ok := bareField(fieldsOf(t)); ok {
			s["type"] = "object"
			s = object{"anyOf": []any{valueSchema(t.Field(bare.index).Type, f.below(bare)), s}}
		}
	}
	if f.doc != "" {
		s["description"] = f.doc
	}
	return s
}

func scalarSchema(t reflect.Type, f field) object {
	s := object{"type": "string"}
	switch {
	case t == secretType, t == prefixType:
	case t == durationType:
		s["pattern"] = durationPattern
		if f.seconds {
			s = object{"anyOf": []any{s, object{"type": "integer", "minimum": 0}}}
		}
	case t == timeType:
		s["pattern"] = `^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))?$`
	case t == urlType:
		s["pattern"] = `^([hH][tT][tT][pP][sS]?://[^/?#@]+/?|[uU][nN][iI][xX]:(//)?/[^?#]+)$`
	case t == rateType:
		s["pattern"] = ratePattern
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case f.bytes:
		s = object{"anyOf": []any{object{"type": "integer", "minimum": 0}, object{"type": "string", "pattern": bytesPattern}}}
	case t.Kind() == reflect.Int64:
		s["type"] = "integer"
		bound(s, f)
	case t.Kind() == reflect.Float64:
		s["type"] = "number"
		bound(s, f)
		s = object{"anyOf": []any{s, object{"type": "string", "pattern": percentPattern}}}
	case f.form != nil:
		s["pattern"] = f.form.pattern.String()
		if f.form.longest > 0 {
			s["maxLength"] = f.form.longest
		}
	}
	if f.enum != nil {
		s["enum"] = literals(t, f.enum...)
	}
	if len(s) > 1 || s["type"] != "string" {
		// What a variable holds, only Load can tell.
		s = object{"anyOf": []any{s, object{"$ref": "#/$defs/environment"}}}
	}
	if f.standard != "" {
		s["default"] = standardOf(t, f)
	}
	return s
}

// standardOf gives the default of a key as JSON.
func standardOf(t reflect.Type, f field) any {
	switch {
	case f.standard != "":
		return literals(t, f.standard)[0]
	case t == secretType:
		return ""
	}
	return reflect.Zero(t).Interface()
}

func bound(s object, f field) {
	for key, text := range map[string]string{"minimum": f.min, "maximum": f.max} {
		if text != "" {
			s[key] = json.Number(text)
		}
	}
}

// literals gives texts of tags as the JSON that stands for them in the file.
func literals(t reflect.Type, texts ...string) []any {
	var values []any
	for _, text := range texts {
		switch {
		case t.Kind() == reflect.Bool:
			values = append(values, text == "true")
		case numberText.MatchString(text) && t.Kind() != reflect.String:
			values = append(values, json.Number(text))
		default:
			values = append(values, text)
		}
	}
	return values
}

func TestSchema_FollowsTheTags(t *testing.T) {
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(fileSchema()); err != nil {
		t.Fatal(err)
	}
	golden.File(t, "schema.json", want.String())
}

// compiled gives the schema as it is in the file, ready to hold values to.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asEditors gives a YAML text as an editor sees it: aliases and merges filled
// in, times as text.
func asEditors(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case time.Time:
			return v.Format(time.RFC3339Nano)
		case []any:
			for i := range v {
				v[i] = plain(v[i])
			}
		case object:
			for key := range v {
				v[key] = plain(v[key])
			}
		}
		return v
	}
	asJSON, err := json.Marshal(plain(v))
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchema_TakesEveryGoodFile(t *testing.T) {
	s := compiled(t)
	for _, pattern := range []string{"testdata/good/*.yaml", "../examples/*/ropeline.yaml"} {
		for file := range corpus(t, pattern) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(asEditors(t, text)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestSchema_RefusesWhatLoadRefuses(t *testing.T) {
	s := compiled(t)
	const shop = `upstreams: {shop: {servers: [{url: "http://127.0.0.1:9000"}]}}` + "\n"
	if err := s.Validate(asEditors(t, []byte(shop+"routes: [{upstream: shop}]"))); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		"lisen: {}", "listen: {htpp: \":80\"}", "log: {level: loud}", "log: {access: \"true\"}", "poll: {min: 2}",
		"poll: {budget: fast}", "limits: {header_bytes: 16KB}", "prefix: /", "tls: {mode: auto}", "tls: {acme: {email: me}}",
		"database: {sslmode: maybe}", "database: {port: 0}", "keys: [{alg: HS256}]",
		"keys: [{kid: a, alg: HS512}]", "api: {prefix: queue}", "api: {cors_origins: [shop.example.com]}", "admin: {jwt: {alg: none}}", "listen: {https: \"443\"}", "trusted_proxies: 10.0.0.0/8",
		"activities: [{name: A}]", "activities: [{id: 0, name: A}]", "activities: [{id: 1, name: A, tenant: A}]",
		"activities: [{id: 1, name: A, sku: 1}]", "activities: [{id: 1, name: A, stock: {initial: -2}}]", "activities: [{id: 1, name: A, bind: [agent]}]",
		"activities: [{id: 1, name: A, capacity: -1}]", "activities: [{id: 1, name: A, rate: 0/s}]",
		"activities: [{id: 1, name: A, start_at: 2026-11-22T10:00:00}]", "activities: [{id: 1, name: A, nmae: B}]",
		"activities: [{id: 1, name: A, page: {status: 404}}]", "activities: [{id: 1, name: A, session: {idel: 1m}}]",
	} {
		if err := s.Validate(asEditors(t, []byte(shop+"routes: [{upstream: shop}]\n"+text))); err == nil {
			t.Errorf("the schema takes %s", text)
		}
		if _, err := load("f", []byte(shop+"routes: [{upstream: shop}]\n"+text), nil); err == nil {
			t.Errorf("Load takes %s (%d)", text, i)
		}
	}
	for _, text := range []string{
		"routes: []", "routes: [{path: /a}]", "routes: [{upstream: shop, path: /a/}]", "routes: [{upstream: shop, host: A}]",
		"routes: [{upstream: shop, activity: {tenant: A, sku: a}}]", "routes: [{upstream: shop, missing: never}]",
	} {
		if err := s.Validate(asEditors(t, []byte(shop+text))); err == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}

// The modeline is what makes an editor find the schema.
func TestSchema_ExamplesPointToIt(t *testing.T) {
	for file := range corpus(t, "../examples/*/ropeline.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		target, ok := strings.CutPrefix(line, "# yaml-language-server: $schema=")
		if !ok {
			t.Errorf("%s begins with %s", file, strconv.Quote(line))
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), target)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
