package waitpage

import (
	"fmt"
	"html/template"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Theme is what makes a page look like the shop's. It is immutable and safe for
// concurrent use; nil is the look of the page itself.
type Theme struct {
	name   string
	logo   template.URL
	source string       // of the logo, as the policy names it; "": within the page
	icon   string       // the colour of the icon, six digits
	style  template.CSS // after the page's own; "": none
}

// noTheme is the look of the page itself.
var noTheme = &Theme{icon: "4f46c8"}

// A logo is an address of the kind that can stand in a policy, or the image
// itself: nothing else can be an image and harmless at once.
var (
	logoAddress = regexp.MustCompile(`^(https://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%!$&*+=:@/-]*)?)(\?[A-Za-z0-9._~%!$&*+=:@/-]*)?$`)
	logoData    = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp|avif|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}$`)
)

// NewTheme makes a theme of a shop's name, its logo (an https address, or a
// data: address that holds an image in base64), and its colour, as #0a7d4f. Any
// of them may be empty. The colour is made darker, or in dark surroundings
// lighter, as far as it takes to be read.
func NewTheme(name, logo, accent string) (*Theme, error) {
	t := &Theme{name: plain(name), icon: noTheme.icon}
	switch address := logoAddress.FindStringSubmatch(logo); {
	case address != nil:
		t.logo, t.source = template.URL(logo), address[1]
	case logo != "" && !logoData.MatchString(logo):
		return nil, fmt.Errorf("the logo is neither an https address nor an image as data:image/…;base64,…")
	default:
		t.logo = template.URL(logo)
	}
	if accent == "" {
		return t, nil
	}
	base, err := parseColour(accent)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, s := range [...]struct {
		around               string
		page, card, strength colour
		tint                 float64
	}{
		{":root{%s}", colour{0xf4, 0xf3, 0xef}, colour{0xff, 0xff, 0xff}, colour{}, 0.06},
		{"@media(prefers-color-scheme:dark){:root{%s}}", colour{0x12, 0x13, 0x17}, colour{0x1b, 0x1d, 0x23}, colour{0xff, 0xff, 0xff}, 0.08},
	} {
		wash := s.card.toward(base, s.tint)
		glow := s.page.toward(base, 2*s.tint)
		accent := base
		for step := 1; step <= 20 && min(accent.contrast(s.page), accent.contrast(s.card), accent.contrast(wash)) < readable; step++ {
			accent = base.toward(s.strength, float64(step)/20)
		}
		fmt.Fprintf(&b, s.around, fmt.Sprintf("--accent:%s;--wash:%s;--glow:%s", accent, wash, glow))
	}
	t.style = template.CSS(b.String())
	t.icon = base.String()[1:]
	return t, nil
}

// readable is the least contrast of text, by WCAG 2.2 AA (1.4.3).
const readable = 4.5

// colour is red, green and blue, from 0 to 255.
type colour [3]float64

func parseColour(text string) (c colour, err error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 16, 24)
	if err != nil || len(text) != 7 || text[0] != '#' {
		return c, fmt.Errorf("%q is not a colour, like #0a7d4f", text)
	}
	return colour{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}, nil
}

func (c colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", uint8(c[0]), uint8(c[1]), uint8(c[2]))
}

// toward mixes c with a share of another colour, to whole numbers.
func (c colour) toward(other colour, share float64) (mixed colour) {
	for i := range c {
		mixed[i] = math.Round(c[i] + (other[i]-c[i])*share)
	}
	return mixed
}

// contrast is the ratio of the two colours' luminance, from 1 to 21, as WCAG
// defines it.
func (c colour) contrast(other colour) float64 {
	a, b := c.luminance(), other.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

func (c colour) luminance() float64 {
	var linear [3]float64
	for i, v := range c {
		if v /= 255; v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}
