package golden

import "testing"

func TestDifference_IsTheFirstLineThatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		a, b, inA, inB string
		line           int
	}{
		"a line":          {"one\ntwo\nthree\n", "one\n2\n3\n", "two\n", "2\n", 2},
		"a line more":     {"one\ntwo\n", "one\n", "two\n", "", 2},
		"a line less":     {"one\n", "one\ntwo\n", "", "two\n", 2},
		"a line unended":  {"one\n", "one", "one\n", "one", 1},
		"a file is empty": {"", "one\n", "", "one\n", 1},
	} {
		if line, inA, inB := difference(c.a, c.b); line != c.line || inA != c.inA || inB != c.inB {
			t.Errorf("%s: line %d, %q and %q; want line %d, %q and %q", name, line, inA, inB, c.line, c.inA, c.inB)
		}
	}
}
