package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/setup"
)

// probeTimeout is ample for an answer from this machine.
const probeTimeout = 2 * time.Second

// setupOptions are the flags of setup, restore and status.
type setupOptions struct {
	setup.Config
	runtime string
	output  string
	noProbe bool
	stay    bool
}

// setupCommands are p2pd setup, restore and status. load reads the daemon's
// configuration, for the address of its mirror.
func setupCommands(load func() (NodeConfig, error)) []*cobra.Command {
	long := "\n\nIt restarts nothing. Exit codes: 0 done, 1 could not be done, 2 bad usage or configuration."
	command := func(use, short, text string, act func(context.Context, setupOptions) ([]setup.Entry, error)) *cobra.Command {
		var o setupOptions
		cmd := &cobra.Command{Use: use, Short: short, Long: text + long, Args: cobra.NoArgs}
		o.flags(cmd, use == "setup")
		if use == "restore" {
			cmd.Flags().BoolVar(&o.stay, "stay", false, "do not end before a signal, as a pod of a DaemonSet must not")
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(load); err != nil {
				return err
			}
			entries, err := act(cmd.Context(), o)
			if err == nil || len(entries) > 0 { // what was done before it failed
				err = errors.Join(err, show(cmd.OutOrStdout(), o.output, entries))
			}
			if err != nil {
				return runError{err}
			}
			if o.stay {
				wait(cmd.Context())
			}
			return nil
		}
		return cmd
	}
	return []*cobra.Command{
		command("setup", "Make a container runtime pull through p2pd", `setup adds p2pd to the runtime's configuration, before all other hosts, as lines between two
markers; every other byte stays. Repeating it changes nothing; restore undoes it.`, runSetup),
		command("restore", "Undo what setup did", `restore removes the lines that setup wrote, and the files and folders that it made. Other
changes made meanwhile stay.`, runRestore),
		command("status", "Show for which registries the container runtime asks p2pd", `status shows each registry that the runtime's configuration names, and whether p2pd is asked for it.`, runStatus),
	}
}

// wait returns at the first signal to end.
func wait(ctx context.Context) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	<-ctx.Done()
}

func (o *setupOptions) flags(cmd *cobra.Command, writes bool) {
	f := cmd.Flags()
	f.StringVar(&o.Root, "root", "/", "where the node's file `system` is seen, for instance /host in a container")
	f.StringVar(&o.ContainerdConfig, "containerd-config", setup.DefaultContainerdConfig, "containerd's configuration `file`, below --root")
	f.StringVar(&o.CertsDir, "certs-dir", "", "`folder` of hosts.toml files, below --root; empty: what containerd's configuration says")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` of p2pd's mirror; empty: http:// and mirror.listen")
	f.StringVar(&o.runtime, "runtime", "containerd", "containerd; podman or crio (Buildah and skopeo, too); docker")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	if !writes {
		return
	}
	f.StringArrayVar(&o.Registries, "registry", nil, "`HOST` whose images go through p2pd; may be repeated; none: all that have no folder of their own")
	f.BoolVar(&o.Existing, "existing", false, "registries that have a folder, too")
	f.BoolVar(&o.Shadowed, "shadowed", false, "leave registries alone that have a folder of their own")
	f.BoolVar(&o.Enforce, "enforce", false, "make p2pd the only way to these registries, so that what it refuses is not had elsewhere")
	f.StringArrayVar(&o.Exempt, "exempt", nil, "registry `HOST` that is never enforced: that of p2pd's own image; may be repeated")
	f.StringVar(&o.Node, "node", "", "`name` of this node, sent along with each request")
	f.BoolVar(&o.noProbe, "no-probe", false, "do not look who listens at the mirror's address")
}

// complete checks the flags and takes the mirror's address from the daemon's
// configuration.
func (o *setupOptions) complete(load func() (NodeConfig, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	if o.Mirror == "" {
		o.Mirror = "http://" + cfg.Mirror.Listen
	}
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("--output %q is not known: table or json", o.output)
	}
	switch o.runtime {
	case "containerd", "podman", "crio", "docker":
	default:
		return fmt.Errorf("--runtime %q is not known: containerd, podman, crio or docker", o.runtime)
	}
	o.Files = setup.Disk{}
	if !o.noProbe {
		o.Probe = probe
	}
	return nil
}

func runSetup(ctx context.Context, o setupOptions) ([]setup.Entry, error) {
	switch o.runtime {
	case "podman", "crio":
		return setup.SetupPodman(o.Config)
	case "docker":
		return setup.SetupDocker(o.Config)
	}
	return setup.Setup(ctx, o.Config)
}

func runRestore(ctx context.Context, o setupOptions) ([]setup.Entry, error) {
	switch o.runtime {
	case "podman", "crio":
		return setup.RestorePodman(o.Config)
	case "docker":
		return setup.RestoreDocker(o.Config)
	}
	return setup.Restore(ctx, o.Config)
}

func runStatus(ctx context.Context, o setupOptions) ([]setup.Entry, error) {
	switch o.runtime {
	case "podman", "crio":
		return setup.StatusPodman(o.Config)
	case "docker":
		return setup.StatusDocker(o.Config)
	}
	return setup.Status(ctx, o.Config)
}

// probe fails if somebody other than p2pd listens at the mirror's address.
// Nobody is fine: p2pd may come later.
func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v2/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} //nolint:forbidigo // to this machine, and no registry
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		defer resp.Body.Close()
		if resp.Header.Get("Server") == mirror.Server {
			return nil
		}
		err = fmt.Errorf("it answers %s", resp.Status)
	}
	return fmt.Errorf("somebody who is not p2pd listens at %s (%w): stop it, or choose another address by mirror.listen; --no-probe does not look", url, err)
}

func show(w io.Writer, format string, entries []setup.Entry) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(entries)
	}
	if len(entries) == 0 {
		fmt.Fprintln(w, "nothing to do")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REGISTRY\tASKS\tFILE\tNOTE")
	for _, e := range entries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.Registry, e.State, e.File, e.Note)
	}
	return t.Flush()
}
