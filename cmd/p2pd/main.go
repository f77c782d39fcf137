// Command p2pd is the node daemon: see its --help, and internal/daemon for
// what it is made of.
package main

import (
	"context"
	"os"

	"github.com/p2pd/p2pd/internal/daemon"
)

func main() {
	relax()
	os.Exit(daemon.NodeMain(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
