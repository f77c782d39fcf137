// Command bench-harm measures how much later than a pull from the registry one
// through p2pd ends when all that is peer to peer is broken: schedulers that are
// dead, hang or cannot be reached, and peers that are dead, hang, cannot be
// reached, trickle or lie, all of them at once. Real p2pd processes and a real
// registry in network namespaces. It prints one line for each harm:
//
//	FIGURE harm.peers_frozen.later_s 1.2 s
//
// bench/README.md says how each number is made. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/p2pd/p2pd/e2e/faults"
	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.RunClient()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, "bench-harm: interrupted")
		os.Exit(130)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-harm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	all := faults.Harms()
	var names []string
	for _, h := range all {
		names = append(names, h.Name)
	}
	f := flag.NewFlagSet("bench-harm", flag.ContinueOnError)
	only := f.String("harms", strings.Join(names, ","), "what to break, one after the other, by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected arguments %q", f.Args())
	}
	dir, err := os.MkdirTemp(lab.BaseDir(), fmt.Sprintf("p2pd-lab-%d-programs-*", os.Getpid()))
	if err != nil {
		return fmt.Errorf("make folder for programs: %w", err)
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(os.Stderr, "building")
	programs, err := lab.Build(ctx, filepath.Join(dir, "bin"), "p2pd_faults")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(*only, ",") {
		i := slices.IndexFunc(all, func(h faults.Harm) bool { return h.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no harm %q; there are %s", name, strings.Join(names, ", "))
		}
		later, err := inLab(ctx, programs, all[i])
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "FIGURE harm.%s.later_s %.3g s\n", name, later)
	}
	return nil
}

func inLab(ctx context.Context, programs lab.Programs, h faults.Harm) (later float64, err error) {
	l, err := lab.Open(ctx, lab.Config{Shape: faults.HarmShape(), Programs: programs})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return faults.Harmed(ctx, l, h)
}
