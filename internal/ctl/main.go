package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// What the program ends with.
const (
	exitOK          = 0
	exitFailed      = 1 // a finding, or a command that was refused
	exitUsage       = 2
	exitUnreachable = 3 // who should answer does not
)

// Where the programs are that are asked, unless flags or the environment say
// otherwise.
const (
	defaultServer = "unix:///run/p2pd/scheduler.sock"
	defaultNode   = "unix:///var/lib/p2pd/p2pd.sock"
)

// version is what this build calls itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Main is the program p2pctl, and the plugin p2p of kubectl if args[0] is so
// called. It returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := Command(args[0])
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil: // the operator ended it
		return exitOK
	}
	if f, silent := errors.AsType[foundError](err); silent && f.said {
		return exitFailed
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "%s: %s\n", root.Name(), strings.TrimSuffix(line, "\n"))
	}
	return exitCode(err)
}

// exitCode is what an error ends the program with.
func exitCode(err error) int {
	if _, is := errors.AsType[*unreachableError](err); is {
		return exitUnreachable
	}
	if _, is := errors.AsType[failedError](err); is {
		return exitFailed
	}
	if _, is := errors.AsType[foundError](err); is {
		return exitFailed
	}
	return exitUsage
}

// failedError is what went wrong after the command line was understood.
type failedError struct{ error }

func (e failedError) Unwrap() error { return e.error }

// foundError says that what was looked at is not as it should be.
type foundError struct {
	error
	said bool // the output tells already
}

func (e foundError) Unwrap() error { return e.error }

// cli is what all commands share.
type cli struct {
	server, node, tokenFile string
	output                  string
	noHeaders               bool
	watch                   bool
	interval, timeout       time.Duration
}

// Command is the whole of p2pctl, as called by a name. Nothing is asked until it
// is executed.
func Command(calledAs string) *cobra.Command {
	c := &cli{}
	root := &cobra.Command{
		Use:   "p2pctl",
		Short: "Inspect and control p2pd and its scheduler",
		Long: `p2pctl asks a scheduler for swarms and peers, and the p2pd of this node for its
downloads, its cache, and what became of a pull.

By default it asks at their sockets on this machine, which belong to the user that runs
the programs; so run it as root there. From elsewhere, forward a port to a scheduler
whose admin.listen is on loopback, and name its token with --token-file.

Exit codes: 0 all is well, 1 something failed or was found, 2 bad usage, 3 the scheduler
or p2pd cannot be reached.`,
		Example: `  p2pctl status
  p2pctl swarm ls --active
  p2pctl swarm top 4f53cda18c2b
  p2pctl explain registry.example/app:1.2
  kubectl exec -n p2pd statefulset/p2pd-scheduler -- p2pctl peer ls -o wide`,
		Version: version(), SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	if strings.TrimSuffix(filepath.Base(calledAs), ".exe") == "kubectl-p2p" {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl p2p"}
	}
	fs := root.PersistentFlags()
	fs.StringVar(&c.server, "server", fromEnv("P2PD_SERVER", defaultServer), "where the scheduler answers: unix:///`PATH` or 127.0.0.1:PORT [P2PD_SERVER]")
	fs.StringVar(&c.node, "node", fromEnv("P2PD_NODE", defaultNode), "where this node's p2pd answers: unix:///`PATH` [P2PD_NODE]")
	fs.StringVar(&c.tokenFile, "token-file", fromEnv("P2PD_TOKEN_FILE", ""), "`file` with the admin token, for an address that is not a socket [P2PD_TOKEN_FILE]")
	fs.StringVarP(&c.output, "output", "o", "table", "`format`: "+strings.Join(formats, ", "))
	fs.BoolVar(&c.noHeaders, "no-headers", false, "print tables without headings")
	fs.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for an answer")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(c.statusCommand(), c.swarmCommand(), c.peerCommand(), c.cacheCommand(), c.downloadsCommand(),
		c.pullCommand(), c.incidentCommand(), c.explainCommand(), c.preheatCommand(), c.imageCommand(), c.checkCommand(), c.bundleCommand(), c.versionCommand(), docsCommand())
	return root
}

// fromEnv is a variable's value, or what it is without one. It is read when the
// command is made, so that --help shows what holds.
func fromEnv(name, without string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return without
}

// run makes what a command does out of f: it checks the flags that all share,
// and marks failures as such.
func (c *cli) run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := c.check(); err != nil {
			return err
		}
		err := f(cmd, args)
		if _, usage := errors.AsType[usageError](err); err == nil || usage {
			return err
		}
		return failedError{err}
	}
}

// usageError is a mistake in what was typed that the arguments alone show.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
