package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

const (
	variablePrefix = "ROPELINE_"

	// fileSuffix makes a variable name the file that a secret is read from, as
	// container platforms mount them.
	fileSuffix = "_FILE"
)

// ownVariables are those of the commands, which are no part of the file.
var ownVariables = []string{"ROPELINE_CONFIG", "ROPELINE_ADMIN_URL", "ROPELINE_ADMIN_TOKEN"}

// maxSecretBytes bounds a file that holds one secret or key.
const maxSecretBytes = 64 << 10

// environment is what the process's environment says about the file.
type environment struct {
	values map[string]string

	// names gives the variable of each key that one can override, by the key's
	// path. A key's own name may hold a _, so a path is never read out of a
	// variable: variables are made of paths, and a test holds that no two
	// paths make the same one.
	names map[string]string
}

func newEnvironment(environ []string) environment {
	e := environment{values: map[string]string{}, names: variables()}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if _, twice := e.values[name]; !twice {
			e.values[name] = value
		}
	}
	return e
}

// variables gives the variable of each single value outside lists and outside
// the upstreams, whose names are the operator's own, by path.
func variables() map[string]string {
	names := map[string]string{}
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		switch {
		case isScalar(t):
			names[path] = variablePrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		case t.Kind() == reflect.Struct:
			for _, f := range fieldsOf(t) {
				walk(join(path, f.name), t.Field(f.index).Type)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	return names
}

// override gives the variable that overrides the key at path, and its text; no
// variable where none does. A variable that is set to nothing overrides with
// nothing. Secrets may also be read from a file.
func (e environment) override(path string, secret bool) (variable, text string, err error) {
	name, ok := e.names[path]
	if !ok || e.isService(name) {
		return "", "", nil
	}
	text, set := e.values[name]
	if !secret {
		if !set {
			return "", "", nil
		}
		return name, text, nil
	}
	file, inFile := e.values[name+fileSuffix]
	switch {
	case set && inFile:
		return name, "", fmt.Errorf("%s and %s%s are both set", name, name, fileSuffix)
	case set:
		return name, text, nil
	case inFile:
		text, err := readSecret(file)
		return name + fileSuffix, text, err
	}
	return "", "", nil
}

// readSecret gives what file holds, without the line break that editors add.
func readSecret(file string) (string, error) {
	data, err := readFile(file, maxSecretBytes)
	if err != nil {
		return "", fmt.Errorf("read %q: %w", file, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// isService says whether Kubernetes made the variable: a service called
// ropeline-database puts ROPELINE_DATABASE_PORT=tcp://… into every pod, beside
// ROPELINE_DATABASE_SERVICE_HOST.
func (e environment) isService(name string) bool {
	service, ok := strings.CutSuffix(name, "_PORT")
	if !ok {
		return false
	}
	_, made := e.values[service+"_SERVICE_HOST"]
	return made
}

// warnings names the variables that look like ours and do nothing.
func (e environment) warnings(file string) []Problem {
	known := slices.Clone(ownVariables)
	for path, name := range e.names {
		known = append(known, name)
		if typeAt(path) == secretType {
			known = append(known, name+fileSuffix)
		}
	}
	slices.Sort(known)
	var warnings []Problem
	for _, name := range slices.Sorted(maps.Keys(e.values)) {
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		warning := Problem{File: file, Line: 1, Column: 1, Path: name}
		switch _, found := slices.BinarySearch(known, name); {
		case !found:
			warning.What = "unknown environment variable" + didYouMean(name, known)
		case e.isService(name):
			warning.What = "ignored: Kubernetes made it for a service of this name"
		default:
			continue
		}
		warnings = append(warnings, warning)
	}
	return warnings
}

// typeAt gives the type of the value at path, which leads through structs only.
func typeAt(path string) reflect.Type {
	t := reflect.TypeFor[Config]()
	for _, name := range strings.Split(path, ".") {
		for _, f := range fieldsOf(t) {
			if f.name == name {
				t = t.Field(f.index).Type
				break
			}
		}
	}
	return t
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand fills in each ${NAME} and ${NAME:-default} in text, the value of one
// key; $${ stands for ${. As in a shell, :- also stands in for a variable that
// is set to nothing. changed says whether a variable was filled in: what YAML
// took the text for says then nothing about what it became.
//
// Its errors do not show the text, which may be a secret.
func (e environment) expand(text string) (expanded string, changed bool, err error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), changed, nil
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString("{")
			text = after
			continue
		}
		inner, rest, closed := strings.Cut(after, "}")
		name, standard, hasDefault := strings.Cut(inner, ":-")
		if !closed || !variableName.MatchString(name) {
			return "", false, fmt.Errorf("has a ${ that is not followed by a name and }; write $${ for a plain ${")
		}
		value, set := e.values[name]
		switch {
		case hasDefault && value == "":
			value = standard
		case !set:
			return "", false, fmt.Errorf("the environment variable %s is not set; ${%s:-…} would give a default", name, name)
		}
		out.WriteString(value)
		changed, text = true, rest
	}
}
