package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// clientEnv carries the PullSpec to a process that shall only pull.
const clientEnv = "P2PD_LAB_PULL"

// RunClient pulls and exits, if this process was started by PullAt; else it
// does nothing. Every program that calls PullAt calls this first in main (a
// test in TestMain), since PullAt starts the very same program again.
func RunClient() {
	text, ok := os.LookupEnv(clientEnv)
	if !ok {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var spec PullSpec
	err := json.Unmarshal([]byte(text), &spec)
	var report PullReport
	if err == nil {
		report, err = Pull(ctx, spec)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// PullAt pulls from a place, in a process of its own: that is how a pull gets
// into a network namespace, and a core to itself.
func PullAt(ctx context.Context, p Place, spec PullSpec) (PullReport, error) {
	self, err := os.Executable()
	if err != nil {
		return PullReport{}, fmt.Errorf("start client: %w", err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return PullReport{}, fmt.Errorf("start client: %w", err)
	}
	cmd := p.Command(ctx, self)
	cmd.Env = append(os.Environ(), clientEnv+"="+string(text))
	out, err := output(cmd)
	if err != nil {
		return PullReport{}, fmt.Errorf("pull at %s: %w", p.Name, err)
	}
	var report PullReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return PullReport{}, fmt.Errorf("report of the pull at %s: %w", p.Name, err)
	}
	return report, nil
}
