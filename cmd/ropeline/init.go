package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/config"
)

func initCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a YAML file to begin with",
		Long: `Write a YAML file to begin with, with comments. On a terminal what no flag says
is asked for; elsewhere --shop and --path must be given. A file that is there is
left alone, unless --force is given.

Exit status: 0 the file is written, 1 it is there already or would not be valid,
2 not called as it should be.`,
		Example: `  ropeline init
  ropeline init --shop http://127.0.0.1:9000 --path /drop --capacity 500 --rate 120/m`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd, environ)
	force := cmd.Flags().Bool("force", false, "overwrite the file, if there is one")
	var b beginning
	questions := []*question{
		{flag: "shop", ask: "Where does the shop itself answer?", answer: &b.Shop, standard: "http://127.0.0.1:9000", required: true,
			key: "upstreams.shop.servers[0].url", usage: "the `URL` where the shop itself answers"},
		{flag: "path", ask: "Which path is protected, with all below it?", answer: &b.Path, standard: "/drop", required: true,
			key: "routes[0].path", usage: "the `path` to protect, with all below it"},
		{flag: "name", ask: "What do waiting visitors read it is?", answer: &b.Name, standard: "Sale",
			key: "activities[0].name", usage: "the `name` that waiting visitors read"},
		{flag: "capacity", number: true, ask: "How many visitors may be inside at once (0: no limit)?", answer: &b.Capacity, standard: "100",
			key: "activities[0].capacity", usage: "the `number` of visitors inside at once; 0: no limit"},
		{flag: "rate", ask: "How many may come in per s, m or h?", answer: &b.Rate, standard: "60/m",
			key: "activities[0].rate", usage: "the `rate` of new visitors, per s, m or h; empty: no limit"},
	}
	for _, q := range questions {
		standard := q.standard
		if q.required {
			standard = ""
		}
		cmd.Flags().StringVar(&q.given, q.flag, standard, q.usage)
		*q.answer = q.standard
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := os.Lstat(*path); err == nil && !*force {
			return fmt.Errorf("%s is there already; --force overwrites it", *path)
		}
		in := io.Reader(nil)
		if isTerminal(cmd.InOrStdin()) {
			in = cmd.InOrStdin()
		}
		try := func(q *question) error { return b.problem(*path, environ, q.key) }
		if err := answer(questions, cmd.Flags().Changed, in, cmd.OutOrStdout(), try); err != nil {
			return err
		}
		loaded, err := config.Parse(*path, b.file(), environ)
		if err != nil {
			return err
		}
		if err := writeNew(*path, b.file(), *force); err != nil {
			return err
		}
		for _, w := range loaded.Warnings {
			fmt.Fprintf(cmd.OutOrStdout(), "%s (warning)\n", w)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is written; ropeline run starts the gateway\n", *path)
		return err
	}
	return cmd
}

// question is one value of the file that is asked for.
type question struct {
	flag, usage string
	ask         string
	key         string // that the answer stands at
	standard    string // the answer of who just presses enter
	required    bool   // standard is an example only
	number      bool
	given       string // by the flag
	answer      *string
}

// answer finds all answers: by the flags that were given, or from in, line by
// line; nil: nobody is there to be asked. try says what is wrong with an answer.
func answer(questions []*question, given func(flag string) bool, in io.Reader, out io.Writer, try func(*question) error) error {
	for _, q := range questions { // what a flag has wrong is said before anything is asked
		switch {
		case given(q.flag):
			if err := q.take(q.given, try); err != nil {
				return exit{exitUsage, fmt.Errorf("--%s: %w", q.flag, err)}
			}
		case in == nil && q.required:
			return exit{exitUsage, fmt.Errorf("--%s: give %s, like %s", q.flag, strings.ReplaceAll(q.usage, "`", ""), q.standard)}
		}
	}
	if in == nil {
		return nil
	}
	lines := bufio.NewScanner(in)
	for _, q := range questions {
		for !given(q.flag) {
			fmt.Fprintf(out, "%s [%s] ", q.ask, q.standard)
			if !lines.Scan() {
				fmt.Fprintln(out)
				return errors.Join(errors.New("nothing is written: not all questions are answered"), lines.Err())
			}
			err := q.take(cmp.Or(strings.TrimSpace(lines.Text()), q.standard), try)
			if err == nil {
				break
			}
			fmt.Fprintln(out, err)
		}
	}
	return nil
}

// take takes an answer that is good, and leaves what stands where it is not.
func (q *question) take(text string, try func(*question) error) error {
	text = strings.TrimSpace(text)
	if !utf8.ValidString(text) {
		return fmt.Errorf("%q is not UTF-8", text)
	}
	if q.number {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		text = strconv.FormatInt(n, 10) // YAML has 010 be 8
	}
	was := *q.answer
	*q.answer = text
	if err := try(q); err != nil {
		*q.answer = was
		return err
	}
	return nil
}

// beginning is what a file to begin with is made of.
type beginning struct {
	Shop, Path, Name, Capacity, Rate string
}

// problem says what is wrong with the answer at a key of the file.
func (b *beginning) problem(name string, environ []string, key string) error {
	_, err := config.Parse(name, b.file(), environ)
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems {
		if p.Path == key {
			return errors.New(p.What)
		}
	}
	return nil // of another answer, which is still to come
}

func (b *beginning) file() []byte {
	var text strings.Builder
	if err := beginningText.Execute(&text, b); err != nil {
		panic(err) // the template is ours
	}
	return []byte(text.String())
}

// plain are rates and paths that YAML reads as they are meant without quotes.
var plain = regexp.MustCompile(`^([0-9]{1,10}/[smh]|/[a-z0-9/._-]*)$`)

var beginningText = template.Must(template.New("").Funcs(template.FuncMap{
	"text": func(value string) string {
		if plain.MatchString(value) {
			return value
		}
		return strconv.Quote(value) // whose escapes YAML has, too
	},
	"line": func(column int, key, value string) string { // up to its comment
		return fmt.Sprintf("%-*s ", 29-column, key+": "+value)
	},
}).Parse(`# A shop behind a waiting room. "ropeline validate" checks this file, and a
# running gateway takes up a change by itself. What is commented out are the
# next things to think of; docs/configuration.md has every key.

listen:
  http: ":8080"               # visitors
  admin: "127.0.0.1:8081"     # health, metrics and the admin API, for you alone
  # https: ":8443"            # visitors, by HTTPS

# tls:
#   mode: internal            # a CA of its own, for trying; in earnest acme or files

store:
  path: ropeline.db           # the line: a restart loses no place

upstreams:
  shop:
    servers:
      - {{line 8 "url" (text .Shop)}}# where the shop itself answers
    # health: {path: /}       # asked now and then: a server that is not well is left out

activities:
  - id: 1                     # in tokens and cookies: never used for another sale
    {{line 4 "name" (text .Name)}}# what waiting visitors read
    {{line 4 "capacity" .Capacity}}# visitors inside at once; 0: no limit
    {{line 4 "rate" (text .Rate)}}# new visitors per s, m or h; "": no limit
    session:
      idle: 10m               # out after doing nothing for this long
      max: 1h                 # out in any case
    # start_at: 2030-06-01T10:00:00+02:00
    # order: draw             # who comes before start_at is drawn, and who comes later follows
    # end_at: 2030-06-01T12:00:00+02:00

# The most specific route wins. A path means itself and all below it.
routes:
  - {{line 4 "path" (text .Path)}}# who wants in here waits
    activity: 1
    upstream: shop
{{- if ne .Path "/"}}
  - upstream: shop            # all else passes
{{- end}}

# admin:
#   jwt:                      # has ropeline status, pause, resume and the admin API work
#     secret: ${ADMIN_SECRET} # at least 32 bytes
`))

// writeNew writes a file that must not be there, or may be with force.
func writeNew(path string, text []byte, force bool) error {
	how := os.O_EXCL
	if force {
		how = os.O_TRUNC
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
