// Command scheduler introduces peers to each other: see its --help, and
// internal/daemon for what it is made of.
package main

import (
	"context"
	"os"

	"github.com/p2pd/p2pd/internal/daemon"
)

func main() {
	os.Exit(daemon.HubMain(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
