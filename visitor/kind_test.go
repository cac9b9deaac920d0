package visitor

import "testing"

func TestRead_Kind(t *testing.T) {
	const html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	for _, c := range []struct {
		story, method string
		lines         []string
		kind          Kind
		looking       bool
	}{
		{"typed address", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", html}, Navigation, false},
		{"old browser", "GET", []string{html}, Navigation, false},
		{"old browser, other case", "GET", []string{"Accept: TEXT/HTML"}, Navigation, false},
		{"form", "POST", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin"}, Navigation, false},
		{"form from another site", "POST", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site"}, Navigation, true},
		{"link from another site", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site"}, Navigation, false},
		{"app", "GET", []string{"Accept: */*"}, Call, false},
		{"no Accept", "GET", nil, Call, false},
		{"fetch", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: application/json"}, Call, false},
		{"fetch that accepts HTML", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", html}, Call, false},
		{"image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, Call, true},
		{"script", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"}, Call, true},
		{"worker", "GET", []string{"Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: serviceworker"}, Call, true},
		{"frame", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", html}, Call, true},
		{"prefetch", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Purpose: prefetch;prerender", html}, Call, true},
		{"old prefetch", "GET", []string{"Purpose: prefetch", html}, Call, true},
		{"websocket", "GET", []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket"}, Call, true},
		{"preflight", "OPTIONS", []string{"Origin: https://a", "Access-Control-Request-Method: PUT"}, Preflight, true},
		{"crawler", "GET", []string{html, "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, Call, false},
		{"crawler with a browser in it", "GET", []string{"Sec-Fetch-Mode: navigate", html, "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0) Chrome/140.0.0.0 Safari/537.36"}, Call, false},
		{"crawler of pictures", "GET", []string{html, "User-Agent: Googlebot-Image/1.0"}, Call, false},
		{"crawler of ads", "GET", []string{html, "User-Agent: Mediapartners-Google"}, Call, false},
		{"preview of a link", "GET", []string{html, "User-Agent: FacebookExternalHit/1.1"}, Call, false},
		{"phone by a name like one", "GET", []string{html, "User-Agent: Mozilla/5.0 (Linux; Android 10; CUBOT/X30) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36"}, Navigation, false},
		{"browser", "GET", []string{html, "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"}, Navigation, false},
		{"OPTIONS", "OPTIONS", []string{"Origin: https://a"}, Call, false},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := from("203.0.113.7:1", c.lines...)
			r.Method = c.method
			v := Proxies{}.Read(r)
			if v.Kind != c.kind || v.Looking != c.looking {
				t.Errorf("got kind %d, looking %v; want %d, %v", v.Kind, v.Looking, c.kind, c.looking)
			}
		})
	}
}

func TestRead_WebSocketOnlyInItsOneForm(t *testing.T) {
	for _, c := range []struct {
		story, method string
		minor         int
		length        int64
		lines         []string
		want          bool
	}{
		{"websocket", "GET", 1, 0, []string{"Connection: Upgrade", "Upgrade: WebSocket"}, true},
		{"h2c", "GET", 1, 0, []string{"Connection: Upgrade", "Upgrade: h2c"}, false},
		{"both", "GET", 1, 0, []string{"Connection: Upgrade", "Upgrade: websocket, h2c"}, false},
		{"both, on two lines", "GET", 1, 0, []string{"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"}, false},
		{"not meant", "GET", 1, 0, []string{"Upgrade: websocket"}, false},
		{"POST", "POST", 1, 0, []string{"Connection: Upgrade", "Upgrade: websocket"}, false},
		{"HTTP/1.0", "GET", 0, 0, []string{"Connection: Upgrade", "Upgrade: websocket"}, false},
		{"with a body", "GET", 1, 5, []string{"Connection: Upgrade", "Upgrade: websocket"}, false},
		{"with an endless body", "GET", 1, -1, []string{"Connection: Upgrade", "Upgrade: websocket"}, false},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := from("203.0.113.7:1", c.lines...)
			r.Method, r.ProtoMinor, r.ContentLength = c.method, c.minor, c.length
			if got := (Proxies{}).Read(r).WebSocket; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
