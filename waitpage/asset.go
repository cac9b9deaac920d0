package waitpage

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/ropeline/ropeline/web"
)

// An asset is a file that browsers may keep for ever, because its name changes
// with its content.
type asset struct {
	contentType string
	body        []byte
}

// hashAssets names every asset by its content, and tells where the client is.
func hashAssets(prefix string) (assets map[string]asset, clientURL string) {
	client := []byte(web.Client + web.Hash + web.Work + web.Queue + web.Session + web.Events)
	sum := sha256.Sum256(client)
	name := "client." + hex.EncodeToString(sum[:8]) + ".js"
	assets = map[string]asset{name: {"text/javascript; charset=utf-8", client}}
	return assets, prefix + "/assets/" + name
}

func (a asset) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // a shop's page may be elsewhere
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(a.body)
}
