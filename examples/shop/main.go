// Command shop is a small shop to put behind Ropeline: a front page, and a
// drop that only a few visitors should be in at a time, once as pages and once
// as a page that never reloads. The shop itself knows nothing of queues; what it
// shows of them it reads from the headers that the gateway adds.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

//go:embed *.html
var pages embed.FS

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("shop: %w", err)
	}
	fmt.Printf("shop listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: shop(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ending) // what is left is cut with the process
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("shop: %w", err)
	}
	return nil
}

// shop returns the shop's handler.
func shop() http.Handler {
	all := template.Must(template.ParseFS(pages, "*.html"))
	show := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			err := all.ExecuteTemplate(w, name, map[string]string{
				"Activity": r.Header.Get("Ropeline-Activity"),
				"Number":   r.Header.Get("Ropeline-Number"),
			})
			if err != nil {
				log.Printf("shop: %s: %v", name, err)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", show("home.html"))
	mux.HandleFunc("GET /drop", show("drop.html"))
	mux.HandleFunc("POST /drop/buy", show("bought.html"))
	mux.HandleFunc("GET /app", show("app.html"))
	mux.HandleFunc("POST /app/buy", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Thank you, number %s.", r.Header.Get("Ropeline-Number"))
	})
	return mux
}
