package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Version is what this build calls itself.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// NodeCommand is the p2pd command.
func NodeCommand() *cobra.Command {
	cfg := DefaultNodeConfig()
	return command(commandSpec{
		use: "p2pd", short: "Pull container images through peers",
		long: `p2pd is a node's image mirror. containerd asks it on localhost; it takes layers from
peers that a scheduler introduces, and from the origin registry what no peer has.
Without a scheduler it works alone against the origin.`,
		example: `  p2pd --store-path /var/lib/p2pd --scheduler scheduler.example:7310
  p2pd --embedded-scheduler                 # small set-ups: one node runs the scheduler too
  p2pd --config /etc/p2pd/p2pd.yaml`,
		prefix: "P2PD_", config: &cfg, settings: cfg.Settings(), validate: cfg.Validate,
		run: func(ctx context.Context) error {
			n, err := NewNode(cfg, Version(), cfg.Log.Logger(os.Stderr))
			if err != nil {
				return err
			}
			return n.Run(ctx)
		},
	})
}

// HubCommand is the scheduler command.
func HubCommand() *cobra.Command {
	cfg := DefaultHubConfig()
	return command(commandSpec{
		use: "scheduler", short: "Introduce p2pd peers to each other",
		long: `scheduler introduces peers to each other and leases the origin registry to them, so that
a cluster reads each byte from it once. It never sees a byte of content, and keeps
no state on disk: after a restart the peers announce themselves again.`,
		example: `  scheduler --listen 0.0.0.0:7310
  scheduler --config /etc/p2pd/scheduler.yaml`,
		prefix: "P2PSCHED_", config: &cfg, settings: cfg.Settings(), validate: cfg.Validate,
		run: func(ctx context.Context) error {
			h, err := NewHub(cfg, Version(), cfg.Log.Logger(os.Stderr))
			if err != nil {
				return err
			}
			return h.Run(ctx)
		},
	})
}

// commandSpec is what the two commands differ in.
type commandSpec struct {
	use, short, long, example string
	prefix                    string
	config                    any
	settings                  []Setting
	validate                  func() error
	run                       func(context.Context) error
}

func command(s commandSpec) *cobra.Command {
	var file string
	root := &cobra.Command{
		Use: s.use, Short: s.short, Example: s.example, Version: Version(),
		Long: s.long + fmt.Sprintf(`

Settings come from flags, then the environment (%sSTORE_PATH for --store-path and so
on), then the file given with --config (or %sCONFIG), then defaults. Unknown keys in
the file are errors. Exit codes: 0 stopped by a signal, 1 could not run, 2 bad usage
or configuration.`, s.prefix, s.prefix),
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
	}
	if s.use == "scheduler" {
		root.Long = strings.ReplaceAll(root.Long, "STORE_PATH for --store-path", "LOG_LEVEL for --log-level")
	}
	root.PersistentFlags().StringVar(&file, "config", "", "YAML file with settings")
	for _, st := range s.settings {
		root.PersistentFlags().String(st.Flag, "", st.Usage)
		if st.Bool {
			root.PersistentFlags().Lookup(st.Flag).NoOptDefVal = "true"
		}
	}
	load := func(cmd *cobra.Command) error {
		if file == "" {
			file = os.Getenv(s.prefix + "CONFIG")
		}
		if err := Load(file, s.config); err != nil {
			return usageError{err}
		}
		given := make(map[string]string)
		cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
		if err := Apply(s.settings, s.prefix, os.LookupEnv, given); err != nil {
			return usageError{err}
		}
		if err := s.validate(); err != nil {
			return usageError{err}
		}
		return nil
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		return s.run(ctx)
	}
	root.AddCommand(&cobra.Command{
		Use: "check-config", Short: "Say whether the configuration is good, and end", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := load(cmd); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "configuration is good")
			return nil
		},
	})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return root
}

// usageError is the caller's mistake: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// ExitCode is what main ends with.
func ExitCode(err error) int {
	switch err.(type) { //nolint:errorlint // made here, never wrapped
	case nil:
		return 0
	case usageError:
		return 2
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		return 2
	}
	return 1
}
