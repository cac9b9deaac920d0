package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// object is a JSON object.
type object = map[string]any

// contract is the OpenAPI document, by which every request and answer of the
// tests is held.
type contract struct {
	root     object
	mu       sync.Mutex // protects compiler and schemas
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

var theContract = sync.OnceValues(func() (*contract, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	var root object
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	c := &contract{root: root, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource("openapi.json", parsed)
})

func readContract(t testing.TB) *contract {
	t.Helper()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// at follows a path of keys, and references on the way. It returns where that
// led, as a JSON pointer, too.
func (c *contract) at(keys ...string) (any, string) {
	var node any = c.root
	pointer := ""
	for _, key := range keys {
		m, _ := node.(object)
		node = m[key]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		if m, ok := node.(object); ok {
			if ref, ok := m["$ref"].(string); ok && !strings.Contains(ref, "/schemas/") {
				node, pointer = c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
		}
	}
	return node, pointer
}

// check holds a value against the schema at a pointer.
func (c *contract) check(pointer string, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		if schema, err = c.compiler.Compile("openapi.json#" + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	return schema.Validate(value)
}

// path is the documented path that a request is for; "" for none.
func (c *contract) path(asked string) string {
	for path := range c.root["paths"].(object) {
		form := "^" + strings.ReplaceAll(regexp.QuoteMeta(path), `\{id\}`, "[1-9][0-9]*") + "$"
		if regexp.MustCompile(form).MatchString(asked) {
			return path
		}
	}
	return ""
}

// documented passes requests on, and holds them and their answers to the
// contract: an answer must be as it says, and a request that was served too.
type documented struct {
	t    testing.TB
	next http.RoundTripper
}

func (d documented) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answer, err := d.next.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(got))
	if err := d.hold(r, sent, answer, got); err != nil {
		d.t.Errorf("%s %s: %s\n%s: %v", r.Method, r.URL, sent, got, err)
	}
	return answer, nil
}

func (d documented) hold(r *http.Request, sent []byte, answer *http.Response, got []byte) error {
	c := readContract(d.t)
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if is := answer.Header.Get(name); is != want {
			return fmt.Errorf("%s is %q, want %q", name, is, want)
		}
	}
	if answer.Header.Get("X-Request-Id") == "" {
		return fmt.Errorf("the answer has no request id")
	}
	if r.Method == http.MethodHead || answer.StatusCode == http.StatusNoContent {
		return nil
	}
	path, method := c.path(r.URL.EscapedPath()), strings.ToLower(r.Method)
	operation, _ := c.at("paths", path, method)
	if path == "" || operation == nil {
		if answer.StatusCode < 400 {
			return fmt.Errorf("served, and not documented")
		}
		_, pointer := c.at("components", "schemas", "Failure")
		return c.check(pointer, got)
	}
	status := strconv.Itoa(answer.StatusCode)
	if response, _ := c.at("paths", path, method, "responses", status); response == nil {
		if answer.StatusCode < 400 {
			return fmt.Errorf("the status is not documented")
		}
		status = "default"
	}
	media, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if other, _ := c.at("paths", path, method, "responses", status, "content", media); other != nil && media != "application/json" {
		return nil // a document, which has no schema
	}
	_, pointer := c.at("paths", path, method, "responses", status, "content", "application/json", "schema")
	if err := c.check(pointer, got); err != nil {
		return err
	}
	var envelope struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(got, &envelope); err != nil || envelope.RequestID != answer.Header.Get("X-Request-Id") {
		return fmt.Errorf("the body's request id is not the header's")
	}
	if body, at := c.at("paths", path, method, "requestBody", "content", "application/json", "schema"); body != nil && answer.StatusCode < 300 {
		if err := c.check(at, sent); err != nil {
			return fmt.Errorf("served, though the request is not as documented: %w", err)
		}
	}
	return nil
}

// TestOpenAPI_DocumentsWhatIsServedAndNothingElse asks for every method of
// every documented path, and for others.
func TestOpenAPI_DocumentsWhatIsServedAndNothingElse(t *testing.T) {
	c := readContract(t)
	queue, admin := openQueue(t), openAdmin(t)
	methods := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}
	for path, item := range c.root["paths"].(object) {
		client := admin.client
		if strings.HasPrefix(path, "/api/v1/queue/") {
			client = queue.client
		}
		var documented []string
		for _, m := range methods {
			if _, ok := item.(object)[strings.ToLower(m)]; ok {
				documented = append(documented, m)
			}
			got := client.ask(m, strings.ReplaceAll(path, "{id}", "123"), "")
			served := got.status != http.StatusMethodNotAllowed && got.code() != "NOT_FOUND"
			if served != slices.Contains(documented, m) {
				t.Errorf("%s %s: answers %d %s, and is documented: %v", m, path, got.status, got.code(), slices.Contains(documented, m))
			}
		}
		// What the server itself says of the path, which knows every method.
		allowed := client.ask("PATCH", strings.ReplaceAll(path, "{id}", "123"), "").header.Get("Allow")
		want := slices.Clone(documented)
		if slices.Contains(want, "GET") {
			want = append(want, "HEAD")
		}
		slices.Sort(want)
		if allowed != strings.Join(want, ", ") {
			t.Errorf("%s: allows %q, documented are %q", path, allowed, want)
		}
	}
	served := append(queue.Paths(), admin.Paths()...)
	for _, path := range served {
		if _, ok := c.root["paths"].(object)[path]; !ok {
			t.Errorf("%s is served and not documented", path)
		}
	}
	if len(served) < len(c.root["paths"].(object)) {
		t.Errorf("%d paths are documented, %d served", len(c.root["paths"].(object)), len(served))
	}
}

func TestOpenAPI_NamesEveryCodeAndSchemaCompiles(t *testing.T) {
	c := readContract(t)
	schemas, _ := c.at("components", "schemas")
	for name := range schemas.(object) {
		_, pointer := c.at("components", "schemas", name)
		if err := c.check(pointer, []byte("null")); err != nil && !strings.Contains(err.Error(), "jsonschema validation failed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var inCode, inDocument []string
	for _, m := range regexp.MustCompile(`Code = "([A-Z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		inCode = append(inCode, m[1])
	}
	codes, _ := c.at("components", "schemas", "Code", "enum")
	for _, code := range codes.([]any) {
		inDocument = append(inDocument, code.(string))
	}
	slices.Sort(inCode)
	slices.Sort(inDocument)
	if !slices.Equal(inCode, inDocument) {
		t.Errorf("codes are %v, documented are %v", inCode, inDocument)
	}
}

// TestOpenAPI_HasNoTextThatYAMLTookApart: a comma within braces ends a text
// that is not in quotes, and its rest becomes a key without a value.
func TestOpenAPI_HasNoTextThatYAMLTookApart(t *testing.T) {
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case object:
			for key, value := range node {
				if value == nil {
					t.Errorf("%s/%s has no value", path, key)
				}
				walk(path+"/"+key, value)
			}
		case []any:
			for _, value := range node {
				walk(path, value)
			}
		}
	}
	walk("", readContract(t).root)
}

func TestOpenAPI_IsServedToAnyone(t *testing.T) {
	got := openAdmin(t).as("").ask("GET", "/api/v1/openapi.yaml", "")
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got.status != http.StatusOK || got.text != string(want) || got.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("got %d %s, want the document", got.status, got.header)
	}
}
