// Package golden holds files of the tree to what the source says. Run with
// -update, a test writes them anew instead.
package golden

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files that are held to the source anew")

// File holds the file at path to what the source says.
func File(t testing.TB, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := read(t, path); got != want {
		line, has, says := difference(got, want)
		t.Errorf("%s is not what the source says; the same go test with -update writes it anew; line %d has\n\t%q\nand the source says\n\t%q", path, line, has, says)
	}
}

// Part is what stands in a file between the lines <!-- NAME: begin --> and
// <!-- NAME: end -->.
type Part struct {
	path                string
	Before, Text, After string // Before ends with the first of the lines, After begins with the second
}

// OpenPart reads the part of the file at path that has a name.
func OpenPart(t testing.TB, path, name string) Part {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	before, rest, begun := strings.Cut(read(t, path), begin)
	text, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("%s has no lines %s and %s", path, strings.TrimSpace(begin), end)
	}
	return Part{path, before + begin, text, end + after}
}

// Hold holds the part to what the source says, as File does a file.
func (p Part) Hold(t testing.TB, want string) {
	t.Helper()
	File(t, p.path, p.Before+want+p.After)
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// difference is the first line, counted from 1, in which two texts differ that
// are not the same.
func difference(a, b string) (line int, inA, inB string) {
	linesA, linesB := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	for linesA[line] == linesB[line] {
		line++
	}
	return line + 1, linesA[line], linesB[line]
}
