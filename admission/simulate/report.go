package simulate

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a plan came to, setting beside setting.
type Report struct {
	Name    string   `json:"name"`
	Results []Result `json:"results"`
}

// row is a line of the table: a figure of each setting.
type row struct {
	What    string
	Figures []string
	Zero    bool // of every setting
}

// rows are the table. A figure that no setting has is left out.
func (r Report) rows() []row {
	var rows []row
	add := func(what string, always bool, figure func(Result) (string, bool)) {
		line := row{What: what, Zero: true}
		for _, result := range r.Results {
			text, some := figure(result)
			line.Figures, line.Zero = append(line.Figures, text), line.Zero && !some
		}
		if always || !line.Zero {
			rows = append(rows, line)
		}
	}
	people := func(what string, always bool, of func(Result) float64) {
		add(what, always, func(r Result) (string, bool) { return thousands(of(r)), of(r) > 0 })
	}
	lasts := func(what string, of func(Result) float64) {
		add(what, true, func(r Result) (string, bool) { return lasting(of(r)), true })
	}
	people("visitors", true, func(r Result) float64 { return r.Visitors })
	people("entered", true, func(r Result) float64 { return r.Entered })
	people("turned away, too many waited", false, func(r Result) float64 { return r.Full })
	people("turned away, sold out", false, func(r Result) float64 { return r.SoldOut })
	people("turned away, over", false, func(r Result) float64 { return r.Ended })
	people("gave up", false, func(r Result) float64 { return r.GaveUp })
	people("did not enter at their turn", false, func(r Result) float64 { return r.NoShow })
	people("still in line when it stopped", false, func(r Result) float64 { return r.Waiting })
	add("chance of being turned away", true, func(r Result) (string, bool) {
		return fmt.Sprintf("%.1f %%", 100*r.TurnedAway), true
	})
	lasts("wait, mean", func(r Result) float64 { return r.Waits.Mean })
	lasts("wait, half at most", func(r Result) float64 { return r.Waits.P50 })
	lasts("wait, 90 % at most", func(r Result) float64 { return r.Waits.P90 })
	lasts("wait, 99 % at most", func(r Result) float64 { return r.Waits.P99 })
	lasts("wait, longest", func(r Result) float64 { return r.Waits.Max })
	people("longest line", true, func(r Result) float64 { return r.Longest })
	lasts("longest line, after", func(r Result) float64 { return r.LongestAt })
	people("most inside", true, func(r Result) float64 { return r.Inside })
	add("seats taken while someone waited", false, func(r Result) (string, bool) {
		if r.SeatsUsed == 0 {
			return "–", false
		}
		return fmt.Sprintf("%.1f %%", 100*r.SeatsUsed), true
	})
	add("sold out, after the start", false, func(r Result) (string, bool) {
		switch {
		case r.SoldOutRuns == 0:
			return "–", false
		case r.SoldOutRuns < r.Runs:
			return fmt.Sprintf("%s (%d of %d runs)", lasting(r.SoldOutAfter), r.SoldOutRuns, r.Runs), true
		}
		return lasting(r.SoldOutAfter), true
	})
	lasts("line over, after", func(r Result) float64 { return r.Over })
	return rows
}

// Text writes the table.
func (r Report) Text(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\t")
	for _, result := range r.Results {
		fmt.Fprintf(table, "%s\t", result.Setting)
	}
	fmt.Fprintln(table)
	for _, row := range r.rows() {
		fmt.Fprintf(table, "%s\t%s\t\n", row.What, strings.Join(row.Figures, "\t"))
	}
	return table.Flush()
}

// JSON writes all figures, those of the charts included.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// HTML writes a page of its own, with table and charts, that asks for nothing.
func (r Report) HTML(w io.Writer) error {
	var charts []template.HTML
	for _, c := range r.charts() {
		var b strings.Builder
		if err := c.svg(&b, 0); err != nil {
			return err
		}
		charts = append(charts, template.HTML(b.String())) // our own, its texts escaped
	}
	runs := 0
	for _, result := range r.Results {
		runs = max(runs, result.Runs)
	}
	return pageTemplate.Execute(w, struct {
		Report
		Rows   []row
		Charts []template.HTML
		Runs   int
	}{r, r.rows(), charts, runs})
}

// SVG writes the charts below each other, as one image.
func (r Report) SVG(w io.Writer) error {
	charts := r.charts()
	if _, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">`+"\n", chartWidth, len(charts)*chartHeight); err != nil {
		return err
	}
	for i, c := range charts {
		if err := c.svg(w, i*chartHeight); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "</svg>\n")
	return err
}

// charts are what is drawn of each setting.
func (r Report) charts() []chart {
	people := func(title string) chart { return chart{title: title, unit: thousands, step: tidy} }
	charts := []chart{
		people("Waiting in line"),
		people("Inside, seats held included"),
		people("Let in per minute"),
		{title: "Wait until the turn, by when visitors came", unit: lasting, step: tidyTime},
		people("Left of the stock"),
	}
	long, stock := 0., false
	for _, result := range r.Results {
		lines := make([]line, len(charts))
		for i, p := range result.Points {
			at := float64(i) * result.Step
			long = max(long, at)
			lines[0].add(at, p.Line)
			lines[1].add(at, p.Inside)
			lines[2].add(at, 60*p.Entered)
			if p.Wait >= 0 {
				lines[3].add(at, p.Wait)
			}
			lines[4].add(at, p.Left)
			stock = stock || p.Left > 0
		}
		for i := range charts {
			lines[i].name = result.Setting
			charts[i].lines = append(charts[i].lines, lines[i])
		}
	}
	for i := range charts {
		charts[i].long = long
	}
	if !stock {
		return charts[:4]
	}
	return charts
}

// thousands writes a number of people.
func thousands(n float64) string {
	digits := fmt.Sprint(int64(math.Round(n)))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// lasting writes seconds as people say them.
func lasting(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
