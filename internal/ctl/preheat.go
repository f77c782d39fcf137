package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// waitEvery is how often a job is looked at while somebody waits for it.
const waitEvery = time.Second

func (c *cli) preheatCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "preheat", Short: "Bring images to nodes before they are pulled",
		Aliases: []string{"preheats"}, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.preheatCreateCommand(), c.preheatLsCommand(), c.preheatShowCommand(), c.preheatCancelCommand())
	return cmd
}

func (c *cli) preheatCreateCommand() *cobra.Command {
	var ask api.PreheatRequest
	var wait, login bool
	cmd := &cobra.Command{
		Use: "create IMAGE", Short: "Bring an image to nodes",
		Long: `Bring an image to nodes: to one of each zone, unless more are asked for. IMAGE is
REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@DIGEST; the scheduler must list the
registry in preheat.registries, and the nodes must read from it.

With --login, the credential that docker login left on this machine is sent along. The
scheduler exchanges it for a token that can only pull this repository, gives that to the
nodes that fetch, and keeps neither once the job has ended.

With --into containerd, each node's containerd pulls the image out of p2pd's store once
it is there, and unpacks it, so that a container starts without any pull. Nodes must have
containerd.criSocket set; those that do not are not chosen, or fail with --all.

With --selector, only nodes are chosen whose Kubernetes labels it fits at that moment, in
kubectl's syntax. The schedulers must run in Kubernetes, and be allowed to list nodes.

With --wait, the exit code is 1 unless every chosen node has the whole image. Interrupting
the wait does not cancel the job.`,
		Example: `  p2pctl preheat create registry.example/prod/app:v7 --wait
  p2pctl preheat create registry.example/prod/app:v7 --all --zones a,b --platform linux/arm64
  p2pctl preheat create registry.example/prod/app:v7 --percentage 10 --login
  p2pctl preheat create registry.example/prod/app:v7 --selector 'gpu=true,disk in (ssd,nvme),!spot'
  p2pctl preheat create registry.example/prod/app:v7 --all --into containerd --wait`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			ask.Image = args[0]
			if cmd.Flags().Changed("selector") && strings.TrimSpace(ask.Selector) == "" {
				return usage("--selector is empty, which would fit every node; leave it out, or write labels such as gpu=true")
			}
			if login {
				if ask.Credential, err = dockerCredential(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			var j api.Preheat
			if err := cl.do(cmd.Context(), http.MethodPost, "/preheats", ask, &j); err != nil {
				return err
			}
			if wait {
				return c.await(cmd, cl, j)
			}
			return c.print(cmd.OutOrStdout(), preheatShown(colours(cmd.OutOrStdout()), &j))
		}),
	}
	fs := cmd.Flags()
	fs.BoolFunc("all", "all nodes that may be chosen", func(string) error { ask.Scope = api.PreheatAll; return nil })
	fs.IntVar(&ask.Count, "count", 0, "so many nodes, evenly over the zones")
	fs.IntVar(&ask.Percentage, "percentage", 0, "so many of a hundred nodes, evenly over the zones")
	fs.StringSliceVar(&ask.Nodes, "nodes", nil, "only these `nodes`, by name, pattern of names (gpu-*), address or peer ID; all of them unless a number is given")
	fs.StringSliceVar(&ask.Zones, "zones", nil, "only nodes of these `zones`; all of them unless a number is given")
	fs.StringVarP(&ask.Selector, "selector", "l", "", "only nodes whose Kubernetes `labels` fit, such as gpu=true,disk in (ssd,nvme),!spot; all of them unless a number is given")
	fs.StringSliceVar(&ask.Platforms, "platform", nil, "these `platforms`, as OS/ARCH[/VARIANT]; without any each node gets its own")
	fs.StringVar(&ask.Into, "into", "", "`where` the image is to be: store, which is p2pd's and the default, or containerd, unpacked")
	fs.StringVar(&ask.Timeout, "within", "", "`how long` it may take, such as 25m, which is the default")
	fs.BoolVar(&wait, "wait", false, "wait for the end, and show progress")
	fs.BoolVar(&login, "login", false, "read with the credential that docker login left here")
	cmd.MarkFlagsMutuallyExclusive("all", "count", "percentage")
	_ = cmd.RegisterFlagCompletionFunc("into", cobra.FixedCompletions([]string{api.PreheatStore, api.PreheatContainerd}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// dockerCredential is what docker login left for an image's registry.
func dockerCredential(ctx context.Context, image string) (*api.PreheatCredential, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, usage("%q is no image: %w", image, err)
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil {
		return nil, fmt.Errorf("--login: %w", err)
	}
	c, err := authn.Authorization(ctx, auth)
	if err != nil {
		return nil, fmt.Errorf("--login: %w", err)
	}
	switch {
	case c.RegistryToken != "":
		return &api.PreheatCredential{Token: c.RegistryToken}, nil
	case c.Username != "" && c.Password != "":
		return &api.PreheatCredential{Username: c.Username, Password: c.Password}, nil
	}
	return nil, fmt.Errorf("--login: there is no username and password for %s; docker login %[1]s leaves them", ref.Context().RegistryStr())
}

// await shows how far a job is until it has ended.
func (c *cli) await(cmd *cobra.Command, cl *client, j api.Preheat) error {
	w := cmd.ErrOrStderr() // standard output has the end alone
	bar := progress{w: w, terminal: isTerminal(w)}
	misses := 0
	for path := preheatPath(j.ID); j.Ended == nil; {
		bar.show(&j)
		if err := pause(cmd.Context(), waitEvery); err != nil {
			bar.end()
			return err
		}
		var next api.Preheat
		err := cl.get(cmd.Context(), path, nil, &next)
		if _, away := errors.AsType[*unreachableError](err); away && misses < 30 {
			misses++ // it may be started again; others go on
			continue
		}
		if err != nil {
			bar.end()
			return err
		}
		j, misses = next, 0
	}
	bar.show(&j)
	bar.end()
	if err := c.print(cmd.OutOrStdout(), preheatShown(colours(cmd.OutOrStdout()), &j)); err != nil {
		return err
	}
	if j.State != api.PreheatSucceeded {
		return failedError{fmt.Errorf("job %d is %s: %s", j.ID, j.State, j.Error)}
	}
	return nil
}

func preheatPath(id int64) string { return "/preheats/" + strconv.FormatInt(id, 10) }

func (c *cli) preheatLsCommand() *cobra.Command {
	return listOf(c, "List running jobs, and those of the last day", "/preheats", preheatsShown)
}

func (c *cli) preheatShowCommand() *cobra.Command {
	return c.watching(&cobra.Command{
		Use: "show JOB", Short: "Show one job with its nodes",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, id, err := c.preheatJob(args[0])
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				var j api.Preheat
				err := cl.get(ctx, preheatPath(id), nil, &j)
				return preheatShown(p, &j), err
			})
		}),
	})
}

func (c *cli) preheatCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB", Short: "Cancel a job; nodes keep what they have of the image",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, id, err := c.preheatJob(args[0])
			if err != nil {
				return err
			}
			var j api.Preheat
			if err := cl.do(cmd.Context(), http.MethodDelete, preheatPath(id), nil, &j); err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), preheatShown(colours(cmd.OutOrStdout()), &j))
		}),
	}
}

// preheatJob is the job that a text names, and who knows it.
func (c *cli) preheatJob(text string) (*client, int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(text, "preheat/"), 10, 64)
	if err != nil || id < 1 {
		return nil, 0, usage("%q is no job's number; p2pctl preheat ls shows them", text)
	}
	cl, err := c.scheduler()
	return cl, id, err
}
