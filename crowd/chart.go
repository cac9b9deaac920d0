package crowd

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// chart is lines over the seconds of a run.
type chart struct {
	title string
	lines []chartLine
	bound float64 // a level to compare with; 0: none
	named string  // what the level is
}

type chartLine struct {
	name   string
	values []float64 // one a second
	peaks  bool      // where seconds are drawn together the highest counts, not the mean
}

// The size of a chart, and of what surrounds its plot, in the units of its view
// box.
const (
	chartWide, chartHigh = 760.0, 220.0
	chartLeft, chartFoot = 56.0, 26.0
	chartTop, chartRight = 10.0, 22.0
	chartPoints          = 350
)

// svg draws the chart. What it holds stems from numbers and from this package.
func (c chart) svg() template.HTML {
	seconds, top := 0, c.bound
	for i, l := range c.lines {
		seconds = max(seconds, len(l.values))
		c.lines[i].values = l.thinned()
		for _, v := range c.lines[i].values {
			top = max(top, v)
		}
	}
	step := niceStep(top)
	top = max(step, math.Ceil(top/step)*step)
	x := func(share float64) string {
		return decimal(chartLeft + share*(chartWide-chartLeft-chartRight))
	}
	y := func(v float64) string { return decimal(chartTop + (1-v/top)*(chartHigh-chartTop-chartFoot)) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img"><title>%s</title>`, chartWide, chartHigh, c.title)
	for v := 0.0; v <= top+step/2; v += step {
		fmt.Fprintf(&b, `<path class="grid" d="M%s %sH%s"/><text class="y" x="%g" y="%s">%s</text>`, x(0), y(v), x(1), chartLeft-6, y(v), count(v))
	}
	for i := range 5 {
		fmt.Fprintf(&b, `<text class="x" x="%s" y="%g">%s</text>`, x(float64(i)/4), chartHigh-8, clock(float64(seconds)*float64(i)/4))
	}
	if c.bound > 0 {
		fmt.Fprintf(&b, `<path class="bound" d="M%s %sH%s"/>`, x(0), y(c.bound), x(1))
	}
	for i, l := range c.lines {
		fmt.Fprintf(&b, `<path class="line l%d" d="`, i)
		for at, v := range l.values {
			verb := "L"
			if at == 0 {
				verb = "M"
			}
			b.WriteString(verb + x(float64(at)/float64(max(1, len(l.values)-1))) + " " + y(v))
		}
		b.WriteString(`"/>`)
	}
	b.WriteString(`</svg><p class="key">`)
	for i, l := range c.lines {
		fmt.Fprintf(&b, `<span class="l%d">%s</span>`, i, l.name)
	}
	if c.bound > 0 {
		fmt.Fprintf(&b, `<span class="bound">%s: %s</span>`, c.named, count(c.bound))
	}
	b.WriteString(`</p>`)
	return template.HTML(b.String())
}

// thinned are the values, at most chartPoints of them.
func (l chartLine) thinned() []float64 {
	n := len(l.values)
	if n <= chartPoints {
		return l.values
	}
	thin := make([]float64, chartPoints)
	for i := range thin {
		from, to := i*n/chartPoints, (i+1)*n/chartPoints
		var sum, most float64
		for _, v := range l.values[from:to] {
			sum += v
			most = max(most, v)
		}
		if thin[i] = sum / float64(to-from); l.peaks {
			thin[i] = most
		}
	}
	return thin
}

// niceStep is 1, 2 or 5 times a power of ten, of which a scale up to top has
// about four.
func niceStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	rough := top / 4
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= rough {
			return times * power
		}
	}
	return 10 * power
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// count writes a number as people do.
func count(v float64) string { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }

// clock writes seconds as minutes and seconds.
func clock(seconds float64) string {
	return fmt.Sprintf("%d:%02d", int(seconds)/60, int(seconds)%60)
}
