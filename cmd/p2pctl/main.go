// Command p2pctl shows and changes what p2pd and its scheduler do: see its
// --help, and internal/ctl for what it is made of. Called kubectl-p2p it is a
// plugin of kubectl.
package main

import (
	"context"
	"os"

	"github.com/p2pd/p2pd/internal/ctl"
)

//go:generate go run . docs ../../docs/cli

func main() {
	os.Exit(ctl.Main(context.Background(), os.Args, os.Stdout, os.Stderr))
}
