package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/ropeline/ropeline/admission"
)

// derive fills in what follows from other values.
func (d *decoder) derive(c *Config) {
	for i := range c.Activities {
		a := &c.Activities[i]
		if !d.given(fmt.Sprintf("activities[%d].burst", i)) && a.Rate != (Rate{}) {
			a.Burst = admission.Burst(a.Rate.PerHour())
		}
		if a.Adaptive.On() && a.Adaptive.Min == (Rate{}) {
			a.Adaptive.Min = Rate{Count: max(1, a.Rate.PerHour()/20), Per: time.Hour}
		}
		d.readTemplate(fmt.Sprintf("activities[%d].page.template", i), &a.Page)
	}
	d.deriveCrawlers(c)
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		at := join("upstreams", u.Name) + ".tls."
		var key string
		d.text(at+"ca", u.TLS.CA, &u.TLS.CAText)
		d.text(at+"cert", u.TLS.Cert, &u.TLS.CertText)
		d.text(at+"key", u.TLS.Key, &key)
		u.TLS.KeyText = NewSecret(key)
	}
	for i := range c.Keys {
		k := &c.Keys[i]
		file := fmt.Sprintf("keys[%d].file", i)
		if k.File == "" || d.given(fmt.Sprintf("keys[%d].secret", i)) && k.Secret != (Secret{}) {
			continue
		}
		text, err := readSecret(k.File)
		if err != nil {
			d.problem(file, "%v", err)
			continue
		}
		d.read(file, text)
		k.Secret = NewSecret(text)
	}
	d.readWords(c.Words)
}

// maxCatalogBytes is several times the largest catalog of any language.
const maxCatalogBytes = 256 << 10

// readWords has the hash name what the catalogs say. Whether they say it well
// is for the page to tell.
func (d *decoder) readWords(dir string) {
	if dir == "" || !d.sound("words") {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.problem("words", "read %q: %v", dir, cause(err))
		return
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" {
			continue
		}
		data, err := readFile(filepath.Join(dir, entry.Name()), maxCatalogBytes)
		if err != nil {
			d.problem("words", "read %q: %v", filepath.Join(dir, entry.Name()), err)
			continue
		}
		d.read("words."+entry.Name(), string(data))
	}
}

// maxTemplateBytes leaves room for a picture or two within the page, which every
// visitor gets.
const maxTemplateBytes = 512 << 10

// readTemplate takes in the page of the operator's that is named at path. Whether
// it is one is for the page to tell.
func (d *decoder) readTemplate(path string, p *Page) {
	if p.Template == "" || !d.sound(path) {
		return
	}
	data, err := readFile(p.Template, maxTemplateBytes)
	switch {
	case err != nil:
		d.problem(path, "read %q: %v", p.Template, err)
	case len(bytes.TrimSpace(data)) == 0:
		d.problem(path, "%q is empty", p.Template)
	case !utf8.Valid(data):
		d.problem(path, "%q is not UTF-8", p.Template)
	default:
		d.read(path, string(data))
		p.TemplateText = string(data)
	}
}

// text reads the file that is named at path, if one is.
func (d *decoder) text(path, name string, into *string) {
	if name == "" {
		return
	}
	text, err := readSecret(name)
	if err != nil {
		d.problem(path, "%v", err)
		return
	}
	d.read(path, text)
	*into = text
}
