// Command packages builds deb and rpm packages of p2pd, the scheduler and
// p2pctl: binary, systemd unit, configuration, manual pages, completions. It
// needs Go and nothing else; nfpm, which writes the packages, is pinned in
// tools/packages. The same sources, version and date make the same bytes.
//
//	go run ./deploy/packages -version 0.1.0 -out bin/packages
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/deploy/build"
	"github.com/p2pd/p2pd/internal/ctl"
	"github.com/p2pd/p2pd/internal/daemon"
)

// product is what there is a package of: deploy/packages/NAME.yaml describes it
// to nfpm.
type product struct {
	name    string // of the package, and of the program in it
	program string // in cmd/
	section string // of its manual: 1 commands, 8 for administrators
	command func() *cobra.Command
}

var products = []product{
	{name: "p2pd", program: "p2pd", section: "8", command: daemon.NodeCommand},
	{name: "p2pd-scheduler", program: "scheduler", section: "8", command: func() *cobra.Command { return daemon.HubCommand("p2pd-scheduler") }},
	{name: "p2pctl", program: "p2pctl", section: "1", command: func() *cobra.Command { return ctl.Command("p2pctl") }},
}

// formats are the kinds of packages.
var formats = []string{"deb", "rpm"}

// defaults are variables that the programs take defaults of flags from.
var defaults = []string{"P2PD_CONFIG", "P2PSCHED_CONFIG", "P2PD_SERVER", "P2PD_NODE", "P2PD_TOKEN_FILE"}

type options struct {
	version, out  string
	architectures string
	date          time.Time // of all files in the packages
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("packages", flag.ContinueOnError)
	f.StringVar(&o.version, "version", "", "their version, as 0.1.0")
	f.StringVar(&o.out, "out", "bin/packages", "folder for them")
	f.StringVar(&o.architectures, "architectures", "amd64,arm64", "what to build for")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.version == "" || strings.HasPrefix(o.version, "v") {
		return fmt.Errorf("-version %q: write a version without v, for instance -version 0.1.0", o.version)
	}
	for _, name := range defaults {
		if os.Getenv(name) != "" {
			return fmt.Errorf("%s is set, and would be the default in the manual pages; unset it", name)
		}
	}
	var err error
	if o.date, err = sourceDate(ctx); err != nil {
		return err
	}
	tools, err := output(ctx, "tools/build.sh", "packages")
	if err != nil {
		return fmt.Errorf("build nfpm: %w", err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make folder for the packages: %w", err)
	}
	stage, err := os.MkdirTemp("", "p2pd-packages-*")
	if err != nil {
		return fmt.Errorf("make work folder: %w", err)
	}
	defer os.RemoveAll(stage)
	for _, p := range products {
		for arch := range strings.SplitSeq(o.architectures, ",") {
			dir := filepath.Join(stage, p.name+"-"+arch)
			if err := p.stage(ctx, o, arch, dir); err != nil {
				return fmt.Errorf("package %s for %s: %w", p.name, arch, err)
			}
			for _, format := range formats {
				if err := p.pack(ctx, o, filepath.Join(tools, "nfpm"), format, arch, dir); err != nil {
					return fmt.Errorf("package %s for %s: %w", p.name, arch, err)
				}
			}
		}
	}
	fmt.Fprintln(out, "packages are in", o.out)
	return nil
}

// sourceDate is $SOURCE_DATE_EPOCH, or when the commit was made that is checked
// out.
func sourceDate(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = output(ctx, "git", "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, fmt.Errorf("date of the sources: %w; set SOURCE_DATE_EPOCH where they are no git checkout", err)
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is not a number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// stage lays what goes into a package for one architecture into dir: the program
// and what is written about it.
func (p product) stage(ctx context.Context, o options, arch, dir string) error {
	for _, sub := range []string{"man", "completions"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := build.Compile(ctx, p.program, "linux/"+arch, filepath.Join(dir, p.name)); err != nil {
		return err
	}
	if err := writeManual(p.command(), p.section, o, filepath.Join(dir, "man")); err != nil {
		return fmt.Errorf("manual pages: %w", err)
	}
	return writeCompletions(p.command(), filepath.Join(dir, "completions"))
}

// pack makes one package out of what was staged.
func (p product) pack(ctx context.Context, o options, nfpm, format, arch, dir string) error {
	cmd := exec.CommandContext(ctx, nfpm, "package", "--config", "deploy/packages/"+p.name+".yaml", "--packager", format, "--target", o.out)
	cmd.Env = append(os.Environ(), "VERSION="+o.version, "ARCH="+arch, "STAGE="+dir, fmt.Sprint("SOURCE_DATE_EPOCH=", o.date.Unix()))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm: %w\n%s", err, text)
	}
	return nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	return strings.TrimSpace(string(text)), err
}
