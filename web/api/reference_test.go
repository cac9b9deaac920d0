package api_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ropeline/ropeline/golden"
)

// described reads the document with the order that its mappings have, which a
// reader of the reference wants to see.
func described(t *testing.T) *yaml.Node {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root.Content[0]
}

// at follows names into mappings; nil: there is none.
func at(n *yaml.Node, names ...string) *yaml.Node {
	for _, name := range names {
		var next *yaml.Node
		for key, value := range members(n) {
			if key == name {
				next = value
			}
		}
		if n = next; n == nil {
			return nil
		}
	}
	return n
}

// members are the names and values of a mapping, in its order.
func members(n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

func word(n *yaml.Node, names ...string) string {
	if n = at(n, names...); n == nil {
		return ""
	}
	return strings.Join(strings.Fields(n.Value), " ")
}

// reference writes the document in Markdown.
type reference struct {
	root *yaml.Node
	bytes.Buffer
}

// follow replaces a reference by what it names; name is that of a schema. What
// stands beside a reference makes it a shape of its own.
func (r *reference) follow(n *yaml.Node) (found *yaml.Node, name string) {
	for ref := word(n, "$ref"); ref != "" && at(n, "properties") == nil; ref = word(n, "$ref") {
		parts := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		name = parts[len(parts)-1]
		n = at(r.root, parts...)
	}
	return n, name
}

// kind says in a few words what a schema lets through.
func (r *reference) kind(n *yaml.Node) string {
	ref := word(n, "$ref")
	n, name := r.follow(n)
	if ref != "" && at(n, "properties") != nil {
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	var kinds []string
	switch t := at(n, "type"); {
	case t != nil && t.Kind == yaml.SequenceNode:
		for _, one := range t.Content {
			kinds = append(kinds, one.Value)
		}
	case t != nil:
		kinds = append(kinds, t.Value)
	}
	for _, choice := range []string{"oneOf", "anyOf"} {
		if of := at(n, choice); of != nil {
			for _, one := range of.Content {
				kinds = append(kinds, r.kind(one))
			}
		}
	}
	text := strings.Join(slices.Compact(kinds), " or ")
	if items := at(n, "items"); items != nil {
		text += " of " + r.kind(items)
	}
	if enum := at(n, "enum"); enum != nil {
		var values []string
		for _, one := range enum.Content {
			values = append(values, "`"+one.Value+"`")
		}
		text = strings.Join(values, ", ")
	}
	if value := at(n, "const"); value != nil {
		text = "`" + value.Value + "`"
	}
	for _, bound := range []struct{ key, says string }{
		{"format", "%s"}, {"minimum", "≥ %s"}, {"exclusiveMinimum", "> %s"}, {"maximum", "≤ %s"},
		{"minLength", "≥ %s characters"}, {"maxLength", "≤ %s characters"}, {"default", "default %s"},
	} {
		if value := word(n, bound.key); value != "" {
			text += ", " + fmt.Sprintf(bound.says, value)
		}
	}
	if text == "" && at(n, "properties") != nil {
		text = "object"
	}
	return strings.TrimPrefix(text, ", ")
}

// cell keeps text in one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// paragraph writes a description.
func (r *reference) paragraph(n *yaml.Node) {
	if d := at(n, "description"); d != nil {
		fmt.Fprintf(r, "%s\n\n", strings.TrimSpace(d.Value))
	}
}

// properties writes a table of a schema's.
func (r *reference) properties(schema *yaml.Node, path string) (rows int) {
	required := []string{}
	if list := at(schema, "required"); list != nil {
		for _, one := range list.Content {
			required = append(required, one.Value)
		}
	}
	if all := at(schema, "allOf"); all != nil {
		for _, part := range all.Content {
			part, _ = r.follow(part)
			rows += r.properties(part, path)
		}
	}
	for name, property := range members(at(schema, "properties")) {
		says := word(property, "description")
		if says == "" {
			whole, _ := r.follow(property)
			if at(whole, "properties") == nil {
				says = word(whole, "description")
			}
		}
		needed := ""
		if slices.Contains(required, name) {
			needed = "yes"
		}
		fmt.Fprintf(r, "| `%s` | %s | %s | %s |\n", path+name, cell(r.kind(property)), needed, cell(says))
		rows++
		if word(property, "$ref") == "" && at(property, "properties") != nil {
			rows += r.properties(property, path+name+".")
		}
		if items := at(property, "items"); items != nil && word(items, "$ref") == "" && at(items, "properties") != nil {
			rows += r.properties(items, path+name+"[].")
		}
	}
	return rows
}

func (r *reference) operation(method, path string, shared, op *yaml.Node) {
	fmt.Fprintf(r, "### %s `%s`\n\n%s.\n\n", strings.ToUpper(method), path, word(op, "summary"))
	r.paragraph(op)
	var rows bytes.Buffer
	for _, list := range []*yaml.Node{at(shared, "parameters"), at(op, "parameters")} {
		if list == nil {
			continue
		}
		for _, p := range list.Content {
			p, _ = r.follow(p)
			needed := ""
			if word(p, "required") == "true" {
				needed = "yes"
			}
			fmt.Fprintf(&rows, "| `%s` | %s | %s | %s | %s |\n", word(p, "name"), word(p, "in"), cell(r.kind(at(p, "schema"))), needed, cell(word(p, "description")))
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(r, "| parameter | in | | required | |\n|---|---|---|---|---|\n%s\n", rows.String())
	}
	if body := at(op, "requestBody", "content", "application/json", "schema"); body != nil {
		fmt.Fprintf(r, "The body is %s.\n\n", r.kind(body))
	}
	fmt.Fprint(r, "| answer | | |\n|---|---|---|\n")
	for status, answer := range members(at(op, "responses")) {
		answer, _ = r.follow(answer)
		shape := ""
		if schema := at(answer, "content", "application/json", "schema"); schema != nil {
			shape = r.kind(schema)
		}
		fmt.Fprintf(r, "| %s | %s | %s |\n", status, cell(word(answer, "description")), cell(shape))
	}
	fmt.Fprintln(r)
}

func (r *reference) all() {
	fmt.Fprint(r, "# API reference\n\nMade from [the OpenAPI document](../web/api/openapi.yaml), which a gateway serves at `/api/v1/openapi.yaml` of its admin listener. [The API](api.md) tells how to use it.\n\n")
	r.paragraph(at(r.root, "info"))
	for _, tag := range at(r.root, "tags").Content {
		name := word(tag, "name")
		fmt.Fprintf(r, "## %s\n\n%s\n\n", name, word(tag, "description"))
		for path, item := range members(at(r.root, "paths")) {
			for method, op := range members(item) {
				if tags := at(op, "tags"); tags != nil && tags.Content[0].Value == name {
					r.operation(method, path, item, op)
				}
			}
		}
	}
	fmt.Fprint(r, "## Shapes\n\n")
	for name, schema := range members(at(r.root, "components", "schemas")) {
		was := r.Len()
		fmt.Fprintf(r, "### %s\n\n", name)
		r.paragraph(schema)
		if base := word(schema, "$ref"); base != "" {
			_, name := r.follow(&yaml.Node{Kind: yaml.MappingNode, Content: schema.Content[:2]})
			fmt.Fprintf(r, "[%s](#%s), with\n\n", name, strings.ToLower(name))
		}
		fmt.Fprint(r, "| | | always there | |\n|---|---|---|---|\n")
		if r.properties(schema, "") == 0 {
			r.Truncate(was) // a plain value, told where it stands
			continue
		}
		fmt.Fprintln(r)
	}
}

func TestReference_FollowsTheDocument(t *testing.T) {
	r := &reference{root: described(t)}
	r.all()
	golden.File(t, "../../docs/api-reference.md", strings.TrimRight(r.String(), "\n")+"\n")
}
