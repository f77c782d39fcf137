package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the programs end with.
const (
	exitFailed = 1 // could not start, or had to stop
	exitUsage  = 2 // bad usage or configuration
)

// version is what this build calls itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// NodeMain is the program p2pd. It returns the exit code.
func NodeMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return nodeProgram(stderr).main(ctx, args, stdout, stderr)
}

// HubMain is the program scheduler. It returns the exit code.
func HubMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return hubProgram("scheduler", stderr).main(ctx, args, stdout, stderr)
}

// NodeCommand is p2pd's command line, for those who write manuals of it.
func NodeCommand() *cobra.Command { return nodeProgram(io.Discard).command() }

// HubCommand is the scheduler's command line, for those who write manuals of it
// under the name that it is installed by.
func HubCommand(name string) *cobra.Command { return hubProgram(name, io.Discard).command() }

func nodeProgram(stderr io.Writer) program {
	cfg := DefaultNodeConfig()
	return program{
		name: "p2pd", short: "Pull container images through peers",
		long: `p2pd is a node's image mirror. containerd asks it on localhost; it takes layers from
peers that a scheduler introduces, and from the origin registry what no peer has.
Without a scheduler peers find each other by themselves; alone it reads the origin.
SIGHUP has it read its configuration again: limits and log.level change at once.`,
		example: `  p2pd --scheduler scheduler.example:7310 --membership-token-file /etc/p2pd/token
  p2pd --embedded-scheduler             # small clusters: one node runs the scheduler too
  p2pd --config /etc/p2pd/p2pd.yaml --log-level debug
  P2PD_MIRROR_LISTEN=127.0.0.1:5000 p2pd
  p2pd check-config --config /etc/p2pd/p2pd.yaml
  docker save app:1 | p2pd import -`,
		envPrefix: "P2PD_", config: &cfg,
		run: func(ctx context.Context, again func(Config) error) error {
			level := new(slog.LevelVar)
			log := cfg.Log.Logger(stderr, level)
			n, err := NewNode(cfg, version(), log)
			if err != nil {
				return err
			}
			n.ReloadOnHangup(level, func() (NodeConfig, error) {
				c := DefaultNodeConfig()
				err := again(&c)
				return c, err
			})
			started(log)
			return n.Run(ctx)
		},
		more: func(load func() error) []*cobra.Command {
			loaded := func() (NodeConfig, error) {
				err := load()
				return cfg, err
			}
			key := func() (string, error) {
				c, err := loaded()
				if err == nil && !c.EmbeddedScheduler.Enabled {
					err = errors.New("embeddedScheduler.enabled: \"false\", so the cluster's key is not here; ask where the scheduler runs: 'scheduler token'")
				}
				return c.clusterKeyHere(), err
			}
			return append(setupCommands(loaded), importCommand(loaded), tokenCommand(key), pinCommand(key), restoredCommand())
		},
	}
}

func hubProgram(name string, stderr io.Writer) program {
	cfg := DefaultHubConfig()
	return program{
		name: name, short: "Introduce p2pd peers to each other",
		long: `scheduler introduces peers to each other and leases the origin registry to them, so
that a cluster reads each byte from it once. It never sees a byte of content, and keeps
nothing on disk but the cluster's key: after a restart the peers announce themselves again.`,
		example: fmt.Sprintf(`  %[1]s --listen 0.0.0.0:7310
  %[1]s token                       # prints a token that lets nodes join
  %[1]s --config /etc/p2pd/scheduler.yaml
  P2PSCHED_LOG_LEVEL=debug %[1]s`, name),
		envPrefix: "P2PSCHED_", config: &cfg,
		run: func(ctx context.Context, _ func(Config) error) error {
			log := cfg.Log.Logger(stderr, new(slog.LevelVar))
			h, err := NewHub(cfg, version(), log)
			if err != nil {
				return err
			}
			started(log)
			return h.Run(ctx)
		},
		more: func(load func() error) []*cobra.Command {
			key := func() (string, error) {
				err := load()
				return cfg.Membership.KeyFile, err
			}
			return []*cobra.Command{tokenCommand(key), pinCommand(key)}
		},
	}
}

// program is what the two programs differ in.
type program struct {
	name, short, long, example string
	envPrefix                  string
	config                     Config // what run reads
	// run is the program; again reads a configuration anew, from the same
	// sources, into one that has its defaults.
	run func(ctx context.Context, again func(Config) error) error
	// more are the program's own subcommands; load reads config. nil: none.
	more func(load func() error) []*cobra.Command
}

const sourcesHelp = `Settings come from flags, then the environment (in brackets below), then the YAML file
given with --config, then defaults. The file's keys are those of the flags, nested; a key
that does not exist is an error.

SIGTERM and SIGINT end the program in order; a second one ends it at once.

Exit codes: 0 ended by a signal, 1 could not run, 2 bad usage or configuration.`

func (p program) main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := p.command()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "%s: %s\n", p.name, strings.TrimSuffix(line, "\n"))
	}
	if _, failed := errors.AsType[runError](err); failed {
		return exitFailed
	}
	return exitUsage
}

// runError is what happened after the command line was understood and the
// configuration was good.
type runError struct{ error }

func (e runError) Unwrap() error { return e.error }

func (p program) command() *cobra.Command {
	settings := pflag.NewFlagSet(p.name, pflag.ContinueOnError)
	p.config.Flags(settings)
	settings.VisitAll(func(f *pflag.Flag) { f.Usage += " [" + envName(p.envPrefix, f.Name) + "]" })

	root := &cobra.Command{
		Use: p.name, Short: p.short, Long: p.long + "\n\n" + sourcesHelp, Example: p.example,
		Version: version(), Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	file := root.PersistentFlags().String("config", os.Getenv(p.envPrefix+"CONFIG"), "YAML `file` with settings ["+p.envPrefix+"CONFIG]")
	root.PersistentFlags().AddFlagSet(settings)
	load := func() error {
		return Load(p.config, Sources{File: *file, Prefix: p.envPrefix, LookupEnv: os.LookupEnv, Flags: settings})
	}
	again := func(c Config) error {
		fresh := pflag.NewFlagSet(p.name, pflag.ContinueOnError)
		c.Flags(fresh)
		var failed error
		settings.VisitAll(func(f *pflag.Flag) { // Visit knows nothing of what cobra parsed
			if f.Changed {
				failed = errors.Join(failed, fresh.Set(f.Name, f.Value.String()))
			}
		})
		if failed != nil {
			return failed
		}
		return Load(c, Sources{File: *file, Prefix: p.envPrefix, LookupEnv: os.LookupEnv, Flags: fresh})
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal is the system's
		if err := p.run(ctx, again); err != nil {
			return runError{err}
		}
		return nil
	}
	root.AddCommand(&cobra.Command{
		Use: "check-config", Short: "Check the configuration, and exit", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := load(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
			return nil
		},
	})
	if p.more != nil {
		root.AddCommand(p.more(load)...)
	}
	return root
}
