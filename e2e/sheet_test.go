package e2e

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
)

// sheets is where to put photographs of all that the waiting page can show, and
// of the console; empty: none are taken.
var sheets = flag.String("sheets", "", "a directory for photographs of the waiting page and the console")

// photograph takes every state at three widths, in light and dark, left to right
// and right to left, and puts those of each kind on one sheet.
func photograph(t *testing.T, b *browser) {
	base, states := gallery(t)
	if err := os.MkdirAll(*sheets, 0o755); err != nil {
		t.Fatal(err)
	}
	p, desk := b.Person(t, &gateway{Public: base}), b.Person(t, &gateway{Public: base})
	for _, size := range []struct {
		width, columns int64
		shown          float64 // of its size
	}{{320, 9, 0.6}, {768, 6, 0.4}, {1280, 6, 0.3}} {
		for _, scheme := range []string{"light", "dark"} {
			for direction, lang := range map[string]string{"ltr": "en", "rtl": "ar"} {
				var sheet strings.Builder
				fmt.Fprintf(&sheet, `<!doctype html><style>body{margin:12px;width:max-content;background:#888;display:grid;grid-template-columns:repeat(%d,max-content);gap:12px;font:13px sans-serif}
					figure{margin:0}img{display:block;width:%.0fpx}</style>`, size.columns, float64(size.width)*size.shown)
				views(p, lang, states, func(name string) {
					p.viewport(size.width, 560, scheme)
					fmt.Fprintf(&sheet, `<figure><figcaption>%s</figcaption><img src="data:image/png;base64,%s"></figure>`,
						name, base64.StdEncoding.EncodeToString(shoot(p, scheme, page.CaptureScreenshotParams{Format: "png"})))
				})
				frame := call(desk, "find the frame", page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
				desk.viewport(100, 100, "light") // the sheet makes itself wide
				call(desk, "lay the sheet", page.SetDocumentContent, page.SetDocumentContentParams{FrameID: frame, HTML: sheet.String()})
				desk.Wait("the sheet is laid", `[...document.images].every(i => i.complete)`)
				name := filepath.Join(*sheets, fmt.Sprintf("%d-%s-%s.webp", size.width, scheme, direction))
				quality := int64(60)
				if err := os.WriteFile(name, shoot(desk, "light", page.CaptureScreenshotParams{Format: "webp", Quality: &quality}), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// shoot takes a photograph of the whole page.
func shoot(p *tab, scheme string, how page.CaptureScreenshotParams) []byte {
	p.t.Helper()
	size, err := evaluate[[2]int64](p, `[document.documentElement.scrollWidth, document.documentElement.scrollHeight]`)
	if err != nil {
		p.t.Fatal(err)
	}
	p.viewport(size[0], size[1], scheme)
	return call(p, "take a photograph", page.CaptureScreenshot, how).Data
}

// photographConsole takes the console with a crowd in its line, on a desk and on
// a phone, in light and dark.
func photographConsole(t *testing.T, b *browser, g *gateway) {
	if err := os.MkdirAll(*sheets, 0o755); err != nil {
		t.Fatal(err)
	}
	p := openConsole(t, b, g, "operator")
	keep := func(name string, width int64, scheme string) {
		p.viewport(width, 800, scheme)
		quality := int64(70)
		photo := shoot(p.tab, scheme, page.CaptureScreenshotParams{Format: "webp", Quality: &quality})
		if err := os.WriteFile(filepath.Join(*sheets, "console-"+name+".webp"), photo, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.line(7)
	p.press("Change the message")
	p.fill("textarea", "One pair for each person. Thank you for waiting.")
	p.press("Put in force")
	p.inForce("Message", "One pair for each person. Thank you for waiting.")
	p.Wait("some of the minutes are drawn", `document.querySelector(".frame svg path.line").getAttribute("d").split("L").length > 100`)
	p.Wait("the change is told", `document.querySelector(".changes li") !== null`)
	keep("light", 1280, "light")
	keep("dark", 1280, "dark")
	keep("phone", 390, "light")
	p.viewport(1280, 800, "light")
	p.press("Change the rate")
	p.fill("input", "2")
	p.effect("Rate 10 per second → 120 per minute", "for the last of")
	keep("change", 1280, "light")
	p.press("Cancel")
	p.Run(`location.hash = "#/7/report"; true`)
	p.Wait("the report is shown", `document.querySelectorAll(".history .chart").length === 5`)
	p.press("Last hour")
	p.Wait("the last hour is shown", `document.querySelector(".history").textContent.includes("Arrivals a minute")`)
	keep("report", 1280, "light")
	p.Run(`location.hash = "#/"; true`)
	p.Wait("the lines are shown", `document.querySelectorAll(".lines li").length === 2`)
	keep("overview", 1280, "light")
}
