package proxy
import ("testing";"net/http";"net/http/httputil";"context";"strings";"net/netip";"unsafe";"io"
"github.com/ropeline/ropeline/admission")
type nul struct{}
func (nul) RoundTrip(r *http.Request) (*http.Response, error) { return &http.Response{StatusCode:200, ProtoMajor:1, Request:r, Header: http.Header{"Content-Type":{"text/plain"},"Date":{"x"},"Content-Length":{"0"}}, Body: io.NopCloser(strings.NewReader("")), ContentLength: 0}, nil }
type nw struct{h http.Header}
func (n *nw) Header() http.Header {return n.h}
func (n *nw) Write(p []byte)(int,error){return len(p),nil}
func (n *nw) WriteHeader(int){}
func req() *http.Request {
	r, _ := http.NewRequest("GET","http://shop.test/drop/item/42?ref=a",nil)
	r.RemoteAddr="127.0.0.1:3333"; r.RequestURI="/drop/item/42?ref=a"
	for k,v:=range map[string]string{"User-Agent":"Mozilla/5.0 (X11; Linux x86_64)","Accept":"application/json","Accept-Language":"en","Accept-Encoding":"gzip","Sec-Fetch-Mode":"cors","Sec-Fetch-Dest":"empty","Sec-Fetch-Site":"same-origin","Cookie":"theme=dark; cart=1; ropeline-admission-123="+strings.Repeat("x",300)} { r.Header.Set(k,v) }
	ctx,_ := context.WithCancel(context.Background())
	return r.WithContext(ctx)
}
type passRoom struct{noRoom}
func (passRoom) Arrive(context.Context, admission.Visit) admission.Verdict { return admission.Verdict{Pass:true,Reason:admission.PassAdmitted,Session:admission.Session{Visitor:"v",Number:12345}} }
func BenchmarkMicro(b *testing.B) {
	b.Run("bare", func(b *testing.B){
		target := mustURL(b,"http://127.0.0.1:1")
		p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest){ r.SetURL(&target); r.Out.Host=r.In.Host; r.SetXForwarded() }, Transport: nul{}, BufferPool:&copyBuffers{}}
		r := req(); b.ReportAllocs()
		for b.Loop() { p.ServeHTTP(&nw{http.Header{}}, r) }
	})
	b.Run("gate", func(b *testing.B){
		g := NewGateway(Options{BodyIdle: 60e9})
		up,_ := g.Upstream(UpstreamSettings{Name:"s",URL:mustURL(b,"http://127.0.0.1:1")})
		up.proxy.Transport = nul{}
		t,err := NewTable(Settings{Prefix:"/_r",Reserved:http.NotFoundHandler(),Holder:noHolder{},Routes:[]Route{{Host:"*",Path:"/",Upstream:up},{Host:"*",Path:"/drop",Upstream:up,Activity:&Activity{ID:123,Tenant:"demo",Room:passRoom{}}}}})
		if err!=nil {b.Fatal(err)}
		g.Swap(t)
		r := req(); b.ReportAllocs()
		for b.Loop() { g.ServeHTTP(&nw{http.Header{}}, r) }
	})
	_ = netip.Addr{}
	b.Log(unsafe.Sizeof(exchange{}))
}
