// Command scheduler: see its --help, or internal/daemon for what it is made of.
package main

import (
	"fmt"
	"os"

	"github.com/p2pd/p2pd/internal/daemon"
)

func main() {
	err := daemon.HubCommand().Execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
	}
	os.Exit(daemon.ExitCode(err))
}
