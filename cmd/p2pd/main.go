// Command p2pd: see its --help, or internal/daemon for what it is made of.
package main

import (
	"fmt"
	"os"

	"github.com/p2pd/p2pd/internal/daemon"
)

func main() {
	err := daemon.NodeCommand().Execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, "p2pd:", err)
	}
	os.Exit(daemon.ExitCode(err))
}
