package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/golden"
)

// said is a line of the log, as the source says it.
type said struct {
	level   string
	message string
	fields  []string
}

// parts of the tree that the program is made of.
var parts = []string{"admission", "cmd/ropeline", "config", "proxy", "visitor", "waitpage", "web", "webhook"}

// logLines finds every call of the source that writes to the log by a constant
// message.
func logLines(t *testing.T) (all []said) {
	t.Helper()
	levels := map[string]string{"Debug": "debug", "Info": "info", "Warn": "warn", "Error": "error", "Check": "info"}
	for _, part := range parts {
		err := filepath.WalkDir(filepath.Join("../..", part), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && strings.HasSuffix(entry.Name(), "test"):
				return fs.SkipDir // harnesses
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range file.Decls {
				ast.Inspect(d, func(n ast.Node) bool {
					call, ok := n.(*ast.CallExpr)
					if !ok {
						return true
					}
					f, ok := call.Fun.(*ast.SelectorExpr)
					if !ok || levels[f.Sel.Name] == "" {
						return true
					}
					message, from, args := "", ast.Node(call), call.Args
					if f.Sel.Name == "Check" && len(args) == 2 { // its fields are written by the function around it
						message, from = literal(args[1]), d
						if level, ok := args[0].(*ast.SelectorExpr); ok && level.Sel.Name == "DebugLevel" {
							return true
						}
					} else if len(args) > 0 {
						message = literal(args[0])
					}
					if message == "" || !strings.Contains(strings.ToLower(name(f.X)), "log") {
						return true
					}
					all = append(all, said{levels[f.Sel.Name], message, fieldsIn(from)})
					return true
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// name is the last word of what a method is called on.
func name(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.CallExpr:
		if f, ok := x.Fun.(*ast.SelectorExpr); ok {
			return name(f.X)
		}
	}
	return ""
}

func literal(x ast.Expr) string {
	l, ok := x.(*ast.BasicLit)
	if !ok || l.Kind != gotoken.STRING {
		return ""
	}
	text, err := strconv.Unquote(l.Value)
	if err != nil {
		return ""
	}
	return text
}

// fieldsIn are the names of the zap fields that are made in a part of the source.
func fieldsIn(n ast.Node) (fields []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || name(f.X) != "zap" {
			return true
		}
		switch {
		case f.Sel.Name == "Error":
			fields = append(fields, "error")
		case len(call.Args) == 2 && literal(call.Args[0]) != "":
			fields = append(fields, literal(call.Args[0]))
		}
		return true
	})
	return fields
}

// TestLogs_EveryMessageIsDescribed holds docs/logs.md to the source: each
// message with its level and fields, and a meaning, and none that is not said.
func TestLogs_EveryMessageIsDescribed(t *testing.T) {
	const file = "../../docs/logs.md"
	table := golden.OpenPart(t, file, "messages")
	meanings := map[string]string{}
	for row := range strings.SplitSeq(table.Text, "\n") {
		if cells := strings.Split(row, " | "); len(cells) == 4 {
			meanings[strings.Trim(cells[1], "`")] = strings.TrimSuffix(cells[3], " |")
		}
	}
	byMessage := map[string]said{}
	for _, s := range logLines(t) {
		if s.level == "debug" {
			continue // for those who read the source beside them
		}
		was := byMessage[s.message]
		if was.level != "" && was.level != s.level {
			t.Errorf("%q is said as %s and as %s", s.message, was.level, s.level)
		}
		for _, f := range s.fields {
			if !slices.Contains(was.fields, f) {
				was.fields = append(was.fields, f)
			}
		}
		byMessage[s.message] = said{s.level, s.message, was.fields}
	}
	if len(byMessage) < 40 {
		t.Fatalf("only %d messages were found", len(byMessage))
	}
	var lines []said
	for _, s := range byMessage {
		lines = append(lines, s)
	}
	order := []string{"error", "warn", "info"}
	slices.SortFunc(lines, func(a, b said) int {
		if a.level != b.level {
			return slices.Index(order, a.level) - slices.Index(order, b.level)
		}
		return strings.Compare(a.message, b.message)
	})
	var b strings.Builder
	b.WriteString("| level | message | fields | meaning |\n|---|---|---|---|\n")
	for _, s := range lines {
		if s.message == "request" { // has a section of its own
			for _, f := range s.fields {
				if !strings.Contains(table.Before+table.After, "`"+f+"`") {
					t.Errorf("the field %s of the request line is not described", f)
				}
			}
			continue
		}
		fields := ""
		if len(s.fields) > 0 {
			fields = "`" + strings.Join(s.fields, "`, `") + "`"
		}
		if meanings[s.message] == "" {
			t.Errorf("%q has no meaning in %s; go test ./cmd/ropeline -update makes a row for it", s.message, file)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", s.level, s.message, fields, meanings[s.message])
	}
	table.Hold(t, b.String())
}
