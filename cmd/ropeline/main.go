// Command ropeline is a waiting room gateway: a reverse proxy that lets in only
// as many visitors as the shop behind it can take, and everyone else in turn.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
