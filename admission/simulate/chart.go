package simulate

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
)

// The size of a chart and of the room around its lines, in pixels.
const (
	chartWidth  = 760
	chartHeight = 250
	marginLeft  = 72
	marginRight = 16
	marginTop   = 54
	marginEnd   = 28
)

// colours tell settings apart for most kinds of sight (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"}

// chart is a figure over time, a line for each setting.
type chart struct {
	title string
	unit  func(float64) string
	step  func(least float64) float64 // between marks
	long  float64                     // seconds
	lines []line
}

type line struct {
	name   string
	at, of []float64
}

func (l *line) add(at, of float64) { l.at, l.of = append(l.at, at), append(l.of, of) }

// svg draws the chart so far down in an image.
func (c chart) svg(to io.Writer, down int) error {
	w := bufio.NewWriter(to)
	long, most := max(c.long, 1), 0.
	for _, l := range c.lines {
		for i := range l.at {
			most = max(most, l.of[i])
		}
	}
	step := c.step(most / 4)
	top := step * math.Max(1, math.Ceil(most/step))
	x := func(at float64) float64 { return marginLeft + at/long*(chartWidth-marginLeft-marginRight) }
	y := func(of float64) float64 {
		return chartHeight - marginEnd - of/top*(chartHeight-marginTop-marginEnd)
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" y="%d" width="%d" height="%d" viewBox="0 0 %[2]d %[3]d" role="img" font-family="system-ui,sans-serif" font-size="11" fill="#666">`+"\n", down, chartWidth, chartHeight)
	fmt.Fprintf(w, `<title>%s</title><text x="%d" y="18" font-size="14" font-weight="600">%[1]s</text>`+"\n", html.EscapeString(c.title), marginLeft)
	for of := 0.; of <= top*1.001; of += step {
		fmt.Fprintf(w, `<path d="M%d %.1fH%d" stroke="#8884"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			marginLeft, y(of), chartWidth-marginRight, marginLeft-6, y(of)+4, html.EscapeString(c.unit(of)))
	}
	for at, every := 0., tidyTime(long/6); at <= long; at += every {
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(at), chartHeight-8, clock(at))
	}
	from := float64(marginLeft)
	for i, l := range c.lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(w, `<path d="M%.1f 36h14" stroke="%s" stroke-width="3"/><text x="%.1f" y="40">%s</text>`+"\n", from, colour, from+19, html.EscapeString(l.name))
		from += 36 + 6.5*float64(len([]rune(l.name)))
		if len(l.at) == 0 {
			continue
		}
		fmt.Fprintf(w, `<path fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round" d="`, colour)
		for i := range l.at {
			command := byte('L')
			if i == 0 {
				command = 'M'
			}
			fmt.Fprintf(w, "%c%.1f %.1f", command, x(l.at[i]), y(l.of[i]))
		}
		fmt.Fprint(w, `"/>`+"\n")
	}
	fmt.Fprint(w, "</svg>\n")
	return w.Flush()
}

// tidy is the least of 1, 2 and 5 times a power of ten that is not below n.
func tidy(n float64) float64 {
	if n <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(n)))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= n*(1-1e-9) {
			return times * power
		}
	}
	return 10 * power
}

// tidyTime is a step of time that people count in, not below so many seconds.
func tidyTime(seconds float64) float64 {
	for _, step := range []float64{1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600} {
		if step >= seconds {
			return step
		}
	}
	return 86_400 * math.Ceil(seconds/86_400)
}

// clock writes an instant as hours and minutes, or minutes and seconds.
func clock(at float64) string {
	s := int(math.Round(at))
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02d", s/3600, s%3600/60)
}
