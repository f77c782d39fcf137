// Command bench-peer measures how fast one p2pd that has a layer gives it to
// one that does not, over a link that nobody slows, against what a bare
// crypto/tls copy and a bare sendfile move on the same link in the same run;
// what that costs in CPU on either side; and how much memory many layers at
// once take. Real p2pd processes and a real registry in network namespaces.
// It prints one line for each number:
//
//	FIGURE peer.tls_throughput_over_crypto_tls 0.8 ratio
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
	"strings"
	"syscall"

	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.RunClient()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	runCopy(ctx)
	err := run(ctx, os.Args[1:], os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, "bench-peer: interrupted")
		os.Exit(130)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-peer:", err)
		os.Exit(1)
	}
}

type bench struct {
	size     lab.Size
	pairs    int
	profile  string
	programs lab.Programs
	out      io.Writer

	seed uint64 // of the last image made: no image is pulled cold twice
}

// phases in the order in which they run.
var phases = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"tls", (*bench).tls},
	{"clear", (*bench).clear},
	{"many", (*bench).many},
}

func run(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{size: 1 << 30, out: out}
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	f := flag.NewFlagSet("bench-peer", flag.ContinueOnError)
	f.TextVar(&b.size, "size", b.size, "bytes of the layer")
	f.IntVar(&b.pairs, "pairs", 3, "transfers of each kind, of which the median counts")
	f.StringVar(&b.profile, "cpuprofile", "", "folder for CPU profiles of both p2pds")
	only := f.String("phases", strings.Join(names, ","), "what to measure, by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || b.pairs < 1 {
		return fmt.Errorf("unexpected arguments %q, or fewer than one pair", f.Args())
	}
	dir, err := os.MkdirTemp(lab.BaseDir(), fmt.Sprintf("p2pd-lab-%d-programs-*", os.Getpid()))
	if err != nil {
		return fmt.Errorf("make folder for programs: %w", err)
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(os.Stderr, "building")
	if b.programs, err = lab.Build(ctx, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	for _, name := range strings.Split(*only, ",") {
		if err := b.phase(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) phase(ctx context.Context, name string) error {
	for _, p := range phases {
		if p.name == name {
			fmt.Fprintln(os.Stderr, name)
			return p.run(b, ctx)
		}
	}
	return errors.New("there is no such phase")
}

func (b *bench) figure(name string, value float64, unit string) {
	fmt.Fprintf(b.out, "FIGURE %s %.4g %s\n", name, value, unit)
}
