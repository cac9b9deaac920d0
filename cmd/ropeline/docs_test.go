package main

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ropeline/ropeline/config"
)

// documents are the Markdown files that operators read, by path from the root
// of the tree.
func documents(t *testing.T) map[string]string {
	t.Helper()
	const root = "../.."
	all := map[string]string{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"} {
		add(filepath.Join(root, name))
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fence is a block of a document between ``` and ```.
type fence struct {
	line int
	kind string // what follows the first ```
	text string
}

func fencesOf(text string) (all []fence) {
	var open *fence
	indent := ""
	line := 0
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line++
		trimmed := strings.TrimLeft(lines.Text(), " ")
		switch mark, isMark := strings.CutPrefix(trimmed, "```"); {
		case isMark && open == nil:
			open = &fence{line: line, kind: mark}
			indent = strings.Repeat(" ", len(lines.Text())-len(trimmed))
		case isMark:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(lines.Text(), indent) + "\n"
		}
	}
	return all
}

// What a part of a file is read with that leaves this out.
const restOfFile = `
upstreams: {shop: {servers: [{url: "http://127.0.0.1:9000"}]}}
activities: [{id: 123, name: Spring drop, capacity: 1}]
routes: [{path: /drop, activity: 123, upstream: shop}]
`

// complete makes a file of a part of one: what every file must have and the part
// does not show.
func complete(t *testing.T, part string) []byte {
	t.Helper()
	var shown, rest map[string]any
	if err := yaml.Unmarshal([]byte(part), &shown); err != nil {
		t.Fatalf("it is not YAML: %v", err)
	}
	if err := yaml.Unmarshal([]byte(restOfFile), &rest); err != nil {
		t.Fatal(err)
	}
	if rules, alone := shown["bypass"]; alone { // shown without their activity
		shown["activities"] = []any{map[string]any{"capacity": 1, "bypass": rules}}
		delete(shown, "bypass")
	}
	for key, value := range rest {
		if _, has := shown[key]; !has {
			shown[key] = value
		}
	}
	if activities, ok := shown["activities"].([]any); ok {
		for i, a := range activities {
			for key, value := range map[string]any{"id": 123 + i, "name": "Spring drop"} {
				if one := a.(map[string]any); one[key] == nil {
					one[key] = value
				}
			}
		}
	}
	if upstreams, ok := shown["upstreams"].(map[string]any); ok {
		for _, u := range upstreams {
			if one := u.(map[string]any); one["servers"] == nil {
				one["servers"] = []any{map[string]any{"url": "http://127.0.0.1:9000"}}
			}
		}
	}
	whole, err := yaml.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

var variableName = regexp.MustCompile(`\$\{([A-Z0-9_]+)`)

// TestDocs_EveryYAMLBlockIsValid reads each block as the gateway would. A block
// of another program says whose it is after the word yaml, and is only parsed.
func TestDocs_EveryYAMLBlockIsValid(t *testing.T) {
	blocks := 0
	for name, text := range documents(t) {
		for _, block := range fencesOf(text) {
			kind := strings.Fields(block.kind)
			if len(kind) == 0 || kind[0] != "yaml" {
				continue
			}
			blocks++
			if len(kind) > 1 {
				for parts := yaml.NewDecoder(strings.NewReader(block.text)); ; {
					var parsed any
					err := parts.Decode(&parsed)
					if err != nil && err.Error() == "EOF" {
						break
					}
					if err != nil {
						t.Errorf("%s:%d: %v", name, block.line, err)
						break
					}
				}
				continue
			}
			environ := []string{"ROPELINE_ADMIN_JWT_SECRET=" + strings.Repeat("x", 32)}
			for _, found := range variableName.FindAllStringSubmatch(block.text, -1) {
				value := strings.Repeat("x", 32)
				if strings.HasPrefix(found[1], "DATABASE") && strings.HasSuffix(found[1], "URL") {
					value = "postgres://ropeline:secret@10.0.0.6/ropeline"
				}
				environ = append(environ, found[1]+"="+value)
			}
			whole := []byte(block.text)
			if !bytes.Contains(whole, []byte("routes:")) || !bytes.Contains(whole, []byte("upstreams:")) || !bytes.Contains(whole, []byte("servers:")) {
				whole = complete(t, block.text)
			}
			_, err := config.Parse(name, whole, environ)
			var problems config.Problems
			if err != nil && !errors.As(err, &problems) {
				t.Errorf("%s:%d: %v", name, block.line, err)
			}
			for _, p := range problems {
				if !strings.Contains(p.What, "no such file or directory") { // of the reader's machine
					t.Errorf("%s:%d: %s: %s", name, block.line, p.Path, p.What)
				}
			}
		}
	}
	if blocks < 10 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// callOf finds a call of the program: at a command's place in a line of shell.
var callOf = regexp.MustCompile(`(?:^|[|;&(]|\$\()\s*(?:\$ )?(?:sudo (?:-u \w+ )?)?(?:[A-Z_]+=\S* )*(?:nohup )?(?:bin/|\./|/[\w./-]*/)?ropeline +([^#|;&)<>]*)`)

// inlineCall finds one in a sentence.
var inlineCall = regexp.MustCompile("`(?:bin/)?ropeline ([a-z][^`]*)`")

// TestDocs_EveryCallIsOneThatTheProgramKnows holds each line of shell, and each
// call in a sentence, to the commands and flags that there are.
func TestDocs_EveryCallIsOneThatTheProgramKnows(t *testing.T) {
	calls := 0
	check := func(name string, line int, call string, whole bool) {
		args := shellWords(call)
		if len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "--help" || strings.Contains(args[0], ":") || strings.ToUpper(args[0]) == args[0] {
			return
		}
		calls++
		cmd, rest, err := commands(nil).Find(args)
		if err == nil && cmd.Parent() == nil && args[0] != "--help" {
			err = errors.New("there is no such command")
		}
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil && err.Error() == "pflag: help requested" {
			err = nil
		}
		if err == nil && whole && cmd.Args != nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s:%d: ropeline %s: %v", name, line, call, err)
		}
	}
	for name, text := range documents(t) {
		for _, block := range fencesOf(text) {
			if kind := block.kind; kind != "" && kind != "sh" && kind != "console" {
				continue
			}
			shell := strings.ReplaceAll(block.text, "\\\n", " ")
			for i, line := range strings.Split(shell, "\n") {
				if strings.HasPrefix(line, "ropeline: ") || strings.Contains(line, "[flags]") || block.kind == "" && strings.Contains(line, "bash|zsh|fish") {
					continue // what it said; its synopsis
				}
				for _, found := range callOf.FindAllStringSubmatch(line, -1) {
					check(name, block.line+1+i, found[1], true)
				}
			}
		}
		for i, line := range strings.Split(text, "\n") {
			for _, found := range inlineCall.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(found[1], "[") && !strings.Contains(found[1], "…") && !strings.Contains(found[1], "COMMAND") {
					check(name, i+1, found[1], false)
				}
			}
		}
	}
	if calls < 30 {
		t.Errorf("only %d calls were found", calls)
	}
}

// shellWords splits a command as a shell would, as far as documents need it.
func shellWords(line string) (all []string) {
	var word strings.Builder
	quote, inside := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inside {
				all = append(all, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		all = append(all, word.String())
	}
	return all
}

var (
	linkOf    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingOf = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// slugs are the names by which a document's headings are linked to.
func slugs(text string) (all []string) {
	for _, found := range headingOf.FindAllStringSubmatch(text, -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(found[1]), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

func TestDocs_EveryLinkLeadsSomewhere(t *testing.T) {
	all := documents(t)
	links := 0
	for name, text := range all {
		for _, found := range linkOf.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			to := name
			if target != "" {
				to = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s leads to %s, which is not there", name, found[1])
				continue
			}
			if doc, ok := all[to]; heading != "" && ok && !slices.Contains(slugs(doc), heading) {
				t.Errorf("%s leads to %s, which has no such heading", name, found[1])
			}
		}
	}
	if links == 0 {
		t.Error("no links were found")
	}
}
