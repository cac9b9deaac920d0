package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxAliased bounds what aliases may add to a file. Nine lines of aliases to
// aliases stand for a billion values.
const maxAliased = 100_000

// load reads data, which stands in file. The order matters: a tree that may
// not be walked is found before it is walked, values are complete before rules
// look at them.
func load(file string, data []byte, environ []string) (*Config, error) {
	d := newDecoder(file, data)
	env := newEnvironment(environ)
	var c Config
	if !d.fill(data, env, &c) {
		return nil, Problems(sorted(d.problems))
	}
	d.warnings = append(d.warnings, env.warnings(file)...)
	d.derive(&c)
	d.check(&c)
	if len(d.problems) > 0 {
		return nil, Problems(sorted(d.problems))
	}
	c.Warnings = sorted(d.warnings)
	c.file, c.places = file, d.places
	c.Hash = hex.EncodeToString(d.hash.Sum(nil)[:6])
	return &c, nil
}

// place is where a value came from.
type place struct {
	line, column int
	variable     string // the environment variable that overrides the file
	unsound      bool   // it has a problem; rules about several values leave it out
	given        bool   // it is not the default
}

// decoder fills a Config or a Plan from a tree of YAML, guided by the tags of its
// structs, and collects every problem on the way.
type decoder struct {
	file     string
	env      environment
	types    map[reflect.Type][]field // what fieldsOf said; tags are slow to read
	hash     hash.Hash                // of all that was read
	places   map[string]place
	problems []Problem
	warnings []Problem
}

func newDecoder(file string, data []byte) *decoder {
	d := &decoder{file: file, types: map[reflect.Type][]field{}, places: map[string]place{"": {line: 1, column: 1}}, hash: sha256.New()}
	d.hash.Write(data)
	return d
}

// fill reads data into a struct with tags; false: there is no tree to read.
func (d *decoder) fill(data []byte, env environment, into any) bool {
	root := d.parse(data)
	if root == nil || !d.walkable(root) {
		return false
	}
	d.env = env
	d.object("", root, reflect.ValueOf(into).Elem(), field{})
	return true
}

// problem notes that the value at path is wrong.
func (d *decoder) problem(path, what string, args ...any) {
	p := d.place(path)
	d.problems = append(d.problems, d.says(p, path, what, args...))
	p.unsound = true
	d.places[path] = p
}

// warn notes that the value at path looks wrong.
func (d *decoder) warn(path, what string, args ...any) {
	d.warnings = append(d.warnings, d.says(d.place(path), path, what, args...))
}

func (d *decoder) says(p place, path, what string, args ...any) Problem {
	text := fmt.Sprintf(what, args...)
	if p.variable != "" {
		text += " (set by " + p.variable + ")"
	}
	return Problem{File: d.file, Line: p.line, Column: p.column, Path: path, What: text}
}

// Problem tells what is wrong with the value at path, such as
// activities[0].page.languages, to whoever finds it while building from c.
func (c *Config) Problem(path, what string, args ...any) Problem {
	d := decoder{file: c.file, places: c.places}
	return d.says(d.place(path), path, what, args...)
}

// place gives where path stands, or the nearest above it that stands in the
// file: a missing key is shown where it should be.
func (d *decoder) place(path string) place {
	for above := path; ; {
		if p, ok := d.places[above]; ok {
			if above != path {
				p.variable, p.unsound, p.given = "", false, false
			}
			return p
		}
		above = above[:max(0, strings.LastIndexAny(above, ".["))]
	}
}

// sound says whether all the values at paths were read without a problem.
func (d *decoder) sound(paths ...string) bool {
	for _, path := range paths {
		if d.places[path].unsound {
			return false
		}
	}
	return true
}

func (d *decoder) given(path string) bool { return d.places[path].given }

// at notes that the value at path stands at n.
func (d *decoder) at(path string, n *yaml.Node) {
	d.places[path] = place{line: max(n.Line, 1), column: max(n.Column, 1), given: true}
}

var (
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// parse gives the tree of the one document in data, or nil and a problem.
func (d *decoder) parse(data []byte) *yaml.Node {
	if !utf8.Valid(data) {
		valid := 0
		for r, size := utf8.DecodeRune(data); r != utf8.RuneError || size > 1; r, size = utf8.DecodeRune(data[valid:]) {
			valid += size
		}
		d.syntaxAt(data, valid, "the file is not UTF-8 from here on")
		return nil
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := documents.Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		d.problem("", "the file is empty")
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	if err := documents.Decode(&second); err == nil {
		d.at("", &second)
		d.problem("", "a second document begins here; a file holds one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.syntax(data, err)
		return nil
	}
	root := first.Content[0]
	if isNull(root) {
		d.problem("", "the file is empty")
		return nil
	}
	return root
}

// expected are the errors that yaml.v3 counts the line of from 0, those of its
// parser; it counts from 1 in those of its scanner.
var expected = []string{"node content", "'-' indicator", "key", "',' or ']'", "',' or '}'", "<document start>"}

// syntax notes what yaml.v3 says of data, with the best line to be had.
func (d *decoder) syntax(data []byte, err error) {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := unknownAnchor.FindStringSubmatch(what); m != nil {
		d.syntaxAt(data, max(0, bytes.Index(data, []byte("*"+m[1]))), "not YAML: there is no anchor &"+m[1])
		return
	}
	line := 1
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		what = what[len(m[0]):]
		line, _ = strconv.Atoi(m[1])
		if missing, ok := strings.CutPrefix(what, "did not find expected "); ok && slices.Contains(expected, missing) {
			line++
		}
	}
	d.places[""] = place{line: max(line, 1), column: 1}
	d.problem("", "not YAML: %s", what)
}

// syntaxAt notes what is wrong at an offset in data.
func (d *decoder) syntaxAt(data []byte, offset int, what string) {
	before := data[:offset]
	begin := bytes.LastIndexByte(before, '\n') + 1
	d.places[""] = place{line: bytes.Count(before, []byte("\n")) + 1, column: utf8.RuneCount(before[begin:]) + 1}
	d.problem("", "%s", what)
}

// walkable looks through the whole tree, also where no key is known: for keys
// that stand twice, and for aliases that would make a walk endless. It says
// whether the tree can be walked.
func (d *decoder) walkable(root *yaml.Node) bool {
	const open = -1 // the size of a node whose content is still being counted
	sizes := map[*yaml.Node]int{}
	plain, ok := 0, true
	var size func(path string, n *yaml.Node) int
	size = func(path string, n *yaml.Node) int {
		if s, seen := sizes[n]; seen {
			if s == open {
				d.at(path, n)
				d.problem(path, "the alias *%s stands within what it names", n.Anchor)
				ok = false
				return 0
			}
			return s
		}
		plain++
		sizes[n] = open
		total := 1
		switch n.Kind {
		case yaml.AliasNode:
			total += size(path, n.Alias)
		case yaml.SequenceNode:
			for i, item := range n.Content {
				total += size(fmt.Sprintf("%s[%d]", path, i), item)
			}
		case yaml.MappingNode:
			lines := map[string]int{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i], n.Content[i+1]
				keyPath := join(path, key.Value)
				total += 1 + size(keyPath, value)
				plain++
				if key.Kind != yaml.ScalarNode {
					d.at(path, key)
					d.problem(path, "a key must be a plain word")
					ok = false
					continue
				}
				if line, twice := lines[key.Value]; twice {
					d.at(keyPath, key)
					d.problem(keyPath, "stands twice, first in line %d", line)
				} else {
					lines[key.Value] = key.Line
				}
			}
		}
		sizes[n] = min(total, maxAliased*100)
		return sizes[n]
	}
	if total := size("", root); ok && total-plain > maxAliased {
		d.at("", root)
		d.problem("", "aliases stand for more than %d values", maxAliased)
		ok = false
	}
	return ok
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join gives the path of key within the mapping at path.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// entry is one key of a mapping with its value.
type entry struct{ key, value *yaml.Node }

// entries gives the keys of mapping n, with those that it merges (<<) where it
// does not have them itself. ok is false where n is no mapping.
func (d *decoder) entries(path string, n *yaml.Node) (entries []entry, ok bool) {
	n = resolved(n)
	if n == nil {
		return nil, true
	}
	// A section whose keys are all commented out is null.
	if isNull(n) {
		return nil, true
	}
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		d.problem(path, "must be a mapping of keys to values")
		return nil, false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if isMerge(key) || seen[key.Value] {
			continue
		}
		seen[key.Value] = true
		entries = append(entries, entry{key, n.Content[i+1]})
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			continue
		}
		sources := []*yaml.Node{n.Content[i+1]}
		if source := resolved(sources[0]); source.Kind == yaml.SequenceNode {
			sources = source.Content
		}
		for _, source := range sources {
			merged, _ := d.entries(path, source)
			for _, e := range merged {
				if !seen[e.key.Value] {
					seen[e.key.Value] = true
					entries = append(entries, e)
				}
			}
		}
	}
	return entries, true
}

func isMerge(key *yaml.Node) bool { return key.Value == "<<" && key.ShortTag() == "!!merge" }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// resolved follows aliases. A nil node stays nil.
func resolved(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// value reads what stands at path, in node n (nil: nothing does), as f says.
func (d *decoder) value(path string, n *yaml.Node, into reflect.Value, f field) {
	if n != nil {
		d.at(path, n)
	}
	t := into.Type()
	switch {
	case isScalar(t):
		d.scalar(path, n, into, f)
	case t.Kind() == reflect.Slice && f.named:
		d.names(path, n, into, f)
	case t.Kind() == reflect.Slice:
		d.list(path, n, into, f)
	case t.Kind() == reflect.Map:
		d.entries(path, n)
	default:
		if bare, ok := bareField(d.fieldsOf(t)); ok && n != nil && resolved(n).Kind == yaml.ScalarNode {
			d.value(path, n, into.Field(bare.index), f.below(bare))
			return
		}
		d.object(path, n, into, f)
	}
}

func (d *decoder) fieldsOf(t reflect.Type) []field {
	fields, ok := d.types[t]
	if !ok {
		fields = fieldsOf(t)
		d.types[t] = fields
	}
	return fields
}

func bareField(fields []field) (field, bool) {
	for _, f := range fields {
		if f.bare {
			return f, true
		}
	}
	return field{}, false
}

// scalar reads one value: from the environment, else from n, else the default.
func (d *decoder) scalar(path string, n *yaml.Node, into reflect.Value, f field) {
	t := into.Type()
	standard := reflect.Zero(t)
	if f.standard != "" {
		standard = reflect.ValueOf(f.mustConvert(t, f.standard))
	}
	into.Set(standard)

	var s scalar
	switch variable, text, err := d.env.override(path, t == secretType); {
	case variable != "":
		p := d.place(path)
		p.variable, p.given = variable, true
		d.places[path] = p
		if err != nil {
			d.problem(path, "%v", err)
			return
		}
		d.read(path, text)
		s = scalar{text: text}
	case n == nil:
		return
	default:
		n = resolved(n)
		if n.Kind != yaml.ScalarNode {
			d.problem(path, "must be a single value")
			return
		}
		expanded, changed, err := d.env.expand(n.Value)
		if err != nil {
			d.problem(path, "%v", err)
			return
		}
		s = scalar{text: expanded, tag: n.ShortTag(), quoted: n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0}
		if changed {
			d.read(path, expanded)
			s.tag = ""
		}
		switch s.tag {
		case "", "!!null", "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
		default:
			d.problem(path, "has the tag %s, which means nothing here", n.Tag)
			return
		}
	}
	v, err := f.parse(t, s)
	if err != nil {
		d.problem(path, "%v", err)
		return
	}
	into.Set(reflect.ValueOf(v))
}

// read adds text, which the environment or a file brought to path, to the hash.
func (d *decoder) read(path, text string) {
	fmt.Fprintf(d.hash, "\x00%d:%s=%d:%s", len(path), path, len(text), text)
}

func (d *decoder) list(path string, n *yaml.Node, into reflect.Value, f field) {
	n = resolved(n)
	if n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		d.problem(path, "must be a list")
		return
	}
	items := reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content))
	item := f
	item.required, item.standard = false, ""
	for i, content := range n.Content {
		d.value(fmt.Sprintf("%s[%d]", path, i), content, items.Index(i), item)
	}
	into.Set(items)
}

// names reads a mapping from names to structs into a slice of the structs,
// which have a field Name, by name.
func (d *decoder) names(path string, n *yaml.Node, into reflect.Value, f field) {
	entries, ok := d.entries(path, n)
	if !ok {
		return
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key.Value, b.key.Value) })
	items := reflect.MakeSlice(into.Type(), len(entries), len(entries))
	for i, e := range entries {
		name := e.key.Value
		itemPath := join(path, name)
		d.at(itemPath, e.key)
		if f.form != nil {
			if wrong := f.form.refuse(name); wrong != "" {
				d.problem(itemPath, "%q %s", name, wrong)
			}
		}
		items.Index(i).FieldByName("Name").SetString(name)
		d.object(itemPath, e.value, items.Index(i), f)
	}
	into.Set(items)
}

// object reads mapping n into a struct, and fills in what is not there.
func (d *decoder) object(path string, n *yaml.Node, into reflect.Value, f field) {
	t := into.Type()
	entries, ok := d.entries(path, n)
	byKey := map[string]entry{}
	for _, e := range entries {
		byKey[e.key.Value] = e
	}
	fields := d.fieldsOf(t)
	names := make([]string, 0, len(fields))
	for _, child := range fields {
		names = append(names, child.name)
		childPath := join(path, child.name)
		e, present := byKey[child.name]
		delete(byKey, child.name)
		d.value(childPath, e.value, into.Field(child.index), f.below(child))
		if child.required && ok && !d.given(childPath) {
			d.problem(childPath, "is missing")
		} else if child.required && present && isEmptyList(into.Field(child.index)) && d.sound(childPath) {
			d.problem(childPath, "is empty")
		}
	}
	for _, e := range byKey {
		key := e.key.Value
		// Parts to be named by aliases are parked under keys like x-shop.
		if path == "" && strings.HasPrefix(key, "x-") {
			continue
		}
		unknown := join(path, key)
		d.at(unknown, e.key)
		d.problem(unknown, "unknown key%s", didYouMean(key, names))
	}
}

func isEmptyList(v reflect.Value) bool { return v.Kind() == reflect.Slice && v.Len() == 0 }
