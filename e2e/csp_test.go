package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// evaluateCSP prints what Google's csp_evaluator has against each policy that it
// is given.
const evaluateCSP = `
const {CspEvaluator} = require("csp_evaluator/dist/evaluator.js");
const {CspParser} = require("csp_evaluator/dist/parser.js");
const findings = (policy) => new CspEvaluator(new CspParser(policy).csp).evaluate();
console.log(JSON.stringify(process.argv.slice(1).map((p) => findings(p).map((f) => f.directive + " " + f.value + ": " + f.description))));`

// findings returns what is wrong with each of the policies.
func findings(t *testing.T, policies ...string) [][]string {
	t.Helper()
	cmd := exec.Command("node", append([]string{"-e", evaluateCSP}, policies...)...)
	cmd.Dir = "../.ci" // where npm put it
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("csp_evaluator does not run, which npm has: run \"make deps\" (%v) %s", err, stderr.String())
	}
	var found [][]string
	if err := json.Unmarshal(out, &found); err != nil || len(found) != len(policies) {
		t.Fatalf("csp_evaluator says %q of %d policies (%v)", out, len(policies), err)
	}
	return found
}

func TestCSP_NothingIsFoundAgainstThePolicyOfAnyState(t *testing.T) {
	t.Parallel()
	base, states := gallery(t)
	policies := []string{"script-src 'unsafe-inline' *"} // to see that it looks
	for _, lang := range []string{"en", "ar"} {          // Arabic has a logo
		for _, state := range states {
			res, err := http.Get(base + "/" + lang + "/" + state)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			policies = append(policies, res.Header.Get("Content-Security-Policy"))
		}
	}
	for i, found := range findings(t, policies...) {
		if i == 0 && len(found) == 0 {
			t.Error("it finds nothing against a policy that allows everything")
		}
		if i > 0 && len(found) > 0 {
			t.Errorf("%s:\n%s", policies[i], strings.Join(found, "\n"))
		}
	}
}
