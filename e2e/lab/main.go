package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Main is what a program of the laboratory consists of: it calls run with a
// context that SIGINT and SIGTERM end, says what went wrong, and exits; with 130
// if it was interrupted. As RunClient must come first, nothing comes before it.
func Main(name string, run func(ctx context.Context) error) {
	RunClient()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, name+": interrupted")
		os.Exit(130)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// BuildOnce is Build into a folder of this run, which remove removes. If this run
// is killed, a later one does.
func BuildOnce(ctx context.Context, tags ...string) (p Programs, remove func(), err error) {
	dir, err := os.MkdirTemp(BaseDir(), fmt.Sprintf("p2pd-lab-%d-programs-*", os.Getpid()))
	if err != nil {
		return p, nil, fmt.Errorf("make folder for programs: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // or a later run does
	fmt.Fprintln(os.Stderr, "building (the first time takes minutes)")
	if p, err = Build(ctx, filepath.Join(dir, "bin"), tags...); err != nil {
		remove()
	}
	return p, remove, err
}
