package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/cri"
	"github.com/p2pd/p2pd/internal/setup"
)

// checksURL is where each check is explained: what it means when it fails, and
// what to do.
const checksURL = "https://github.com/p2pd/p2pd/blob/main/docs/checks.md#"

// checkResults is what p2pctl check answers, in the form of linkerd check.
type checkResults struct {
	api.Meta
	Success    bool          `json:"success"` // no check failed
	Categories []checkGroup  `json:"categories"`
	Pull       *pullMeasured `json:"pull,omitempty"` // with --image
	// Start is there with --start.
	Start *startMeasured `json:"start,omitempty"`
}

// checkGroup is some checks of one thing.
type checkGroup struct {
	Name   string        `json:"categoryName"`
	Checks []checkResult `json:"checks"`
}

// checkResult is one check.
type checkResult struct {
	// ID names the check, and its section in docs/checks.md. It stays the same.
	ID          string `json:"id"`
	Description string `json:"description"`
	Result      string `json:"result"`
	// Detail is what was seen, if all is well.
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
	Hint   string `json:"hint,omitempty"` // the address of an explanation
	Millis int64  `json:"milliseconds"`
}

// The results.
const (
	resultOK      = "success"
	resultWarning = "warning"
	resultError   = "error"
	resultSkipped = "skipped"
)

// pullMeasured is the pull that was tried.
type pullMeasured struct {
	Image  string      `json:"image"`
	Digest string      `json:"digest"` // of the layer
	Bytes  int64       `json:"bytes"`
	Millis int64       `json:"milliseconds"`
	Given  []api.Given `json:"given"`
	// Usage is what p2pd took meanwhile, but for its memory, which is what it
	// had afterwards.
	Usage api.Usage `json:"usage"`

	began time.Time
}

// check is something to look at. Those of a category come one after the other;
// if one that is fatal fails, the rest of the category is skipped.
type check struct {
	description, anchor string
	fatal               bool
	always              bool // even if one before it failed
	// look says what it saw. A warning and skipped are no failures.
	look func(ctx context.Context) (string, error)
}

type warningError struct{ error }

type skippedError struct{ error }

func warn(format string, args ...any) error { return warningError{fmt.Errorf(format, args...)} }
func skip(format string, args ...any) error { return skippedError{fmt.Errorf(format, args...)} }

// checkup is one run of all checks.
type checkup struct {
	cli   *cli
	reg   registry
	files setup.Config // where containerd's configuration is

	node      *api.Status // once p2pd has answered
	at        string      // IP:PORT of its mirror while it has not
	ref       name.Reference
	image     string
	pull      *pullMeasured
	installed bool // false with --pre: p2pd is not there yet
	strict    bool // a warning is a failure

	// With --fresh:
	fresh freshImage

	// With --every:
	every     time.Duration
	metricsAt string

	// With --start:
	start     bool
	criSocket string
	command   []string
	runtime   *cri.Client
	started   *startMeasured
}

func (c *cli) checkCommand() *cobra.Command {
	k := &checkup{cli: c}
	var pre bool
	cmd := &cobra.Command{
		Use: "check", Short: "Check the whole chain on this node, from registry to containerd, and say what is wrong",
		Long: `Check whether this node can pull through p2pd, and say what is wrong and what to do. With
--image a pull is tried: the registry is asked with the credentials of docker login, and the
image's smallest layer is pulled through p2pd and from the registry, and compared.

With --start as well, the container runtime is asked as a kubelet would ask it to pull the
image and to start a container from it in the node's network; both are removed again.

With --fresh, the image gets a layer of random bytes on top and is pushed to a repository of
yours first, so that no node can have it; it is removed from there at the end, where the
registry allows that. With --every the check is repeated, as a canary, until it is stopped;
with --metrics Prometheus can read the results.

With --pre it checks whether p2pd can be installed.

The result is reported to the scheduler, through p2pd or at --server, so that its live page
and p2pctl check ls show the last check of each node. If neither answers, it is only printed.`,
		Example: `  p2pctl check
  p2pctl check --image registry.example/app:1.2 -o json
  p2pctl check --image registry.example/canary:1 --start --command /bin/true
  p2pctl check --image registry.example/busybox:1 --fresh registry.example/canary --start --command /bin/true --every 5m --metrics :9100
  p2pctl check --pre`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			k.installed = !pre
			if err := k.flagsFit(); err != nil {
				return err
			}
			if k.image != "" {
				var err error
				if k.ref, err = k.reg.parse(k.image); err != nil {
					return err
				}
			}
			if k.every > 0 {
				return k.goOn(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			found := k.runAndTell(cmd.Context(), cmd.ErrOrStderr())
			if err := c.print(cmd.OutOrStdout(), checkShown(colours(cmd.OutOrStdout()), &found)); err != nil {
				return err
			}
			if !found.Success {
				return foundError{errors.New("a check failed"), true}
			}
			return nil
		}),
	}
	cmd.AddCommand(c.checkLsCommand())
	k.reg.flags(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&pre, "pre", false, "before p2pd is installed")
	fs.BoolVar(&k.strict, "strict", false, "exit with 1 on a warning, too")
	fs.StringVar(&k.at, "mirror", defaultMirror, "`IP:PORT` of p2pd's mirror, used while p2pd itself does not answer")
	fs.StringVar(&k.image, "image", "", "`image` to try a pull with")
	fs.BoolVar(&k.start, "start", false, "have the container runtime pull the image and start a container from it")
	fs.StringVar(&k.criSocket, "cri-socket", "/run/containerd/containerd.sock", "`file` where the container runtime answers, for --start and for its version")
	fs.StringSliceVar(&k.command, "command", nil, "what to run in it, with commas between words; none: what the image says")
	fs.StringVar(&k.fresh.repository, "fresh", "", "`repository` to push the image to, with a layer that no node has, before it is pulled")
	fs.Int64Var(&k.fresh.size, "fresh-size", freshDefault, "`bytes` of that layer")
	fs.DurationVar(&k.every, "every", 0, "repeat the check at this interval, until interrupted")
	fs.StringVar(&k.metricsAt, "metrics", "", "`[HOST]:PORT` where Prometheus can read the results, with --every")
	fs.StringVar(&k.files.Root, "root", "/", "where the node's file `system` is seen, for instance /host in a container")
	fs.StringVar(&k.files.ContainerdConfig, "containerd-config", setup.DefaultContainerdConfig, "containerd's configuration `file`, below --root")
	return cmd
}

// flagsFit looks whether the flags make sense together.
func (k *checkup) flagsFit() error {
	switch {
	case k.start && k.image == "":
		return usage("--start wants an --image to start")
	case k.fresh.repository != "" && k.image == "":
		return usage("--fresh wants an --image to put a layer on")
	case k.fresh.size < 1 || k.fresh.size > freshMost:
		return usage("--fresh-size %d: a layer has 1 to %d bytes", k.fresh.size, freshMost)
	case k.metricsAt != "" && k.every == 0:
		return usage("--metrics wants --every: one check has nothing to show over time")
	case k.every != 0 && k.every < everyLeast:
		return usage("--every %s is too often; %s is the least", k.every, everyLeast)
	}
	return nil
}

// categories are the names of all groups of checks.
func categories() []string {
	return []string{"p2pd", "scheduler", "containerd", "fresh image", "registry", "pull", "container", "clean-up", "node"}
}

// runAndTell makes all checks, and has the live page show what was found.
func (k *checkup) runAndTell(ctx context.Context, w io.Writer) checkResults {
	began := time.Now()
	found := k.run(ctx)
	k.handIn(ctx, w, &found, time.Since(began))
	return found
}

// run makes all checks. The context bounds each by --timeout.
func (k *checkup) run(ctx context.Context) checkResults {
	found := checkResults{Meta: api.Of("CheckResults"), Success: true}
	for _, group := range []struct {
		name   string
		checks []check
		is     bool
	}{
		{"p2pd", k.nodeChecks(), k.installed},
		{"scheduler", k.schedulerChecks(), k.installed},
		{"containerd", k.containerdChecks(), true},
		{"fresh image", k.freshChecks(), k.ref != nil && k.fresh.repository != ""},
		{"registry", k.registryChecks(), k.ref != nil},
		{"pull", k.pullChecks(), k.ref != nil && k.installed},
		{"container", k.startChecks(), k.ref != nil && k.start},
		{"clean-up", k.goneChecks(), k.ref != nil && k.fresh.repository != ""},
		{"node", k.preChecks(), !k.installed},
	} {
		if !group.is {
			continue
		}
		g := checkGroup{Name: group.name}
		failed := false
		for _, c := range group.checks {
			r := checkResult{ID: c.anchor, Description: c.description, Result: resultSkipped, Error: "a check before it failed"}
			if !failed || c.always {
				r = k.look(ctx, c)
			}
			failed = failed || c.fatal && r.Result != resultOK && r.Result != resultWarning
			found.Success = found.Success && r.Result != resultError && !(k.strict && r.Result == resultWarning)
			g.Checks = append(g.Checks, r)
		}
		found.Categories = append(found.Categories, g)
	}
	found.Pull, found.Start = k.pull, k.started
	return found
}

func (k *checkup) look(ctx context.Context, c check) checkResult {
	ctx, cancel := context.WithTimeout(ctx, k.cli.timeout)
	defer cancel()
	began := time.Now()
	detail, err := c.look(ctx)
	r := checkResult{ID: c.anchor, Description: c.description, Result: resultOK, Detail: detail, Millis: time.Since(began).Milliseconds()}
	if err == nil {
		return r
	}
	r.Error, r.Hint, r.Result = err.Error(), checksURL+c.anchor, resultError
	if _, is := errors.AsType[warningError](err); is {
		r.Result = resultWarning
	}
	if _, is := errors.AsType[skippedError](err); is {
		r.Result, r.Hint = resultSkipped, ""
	}
	return r
}

func checkShown(p palette, found *checkResults) shown {
	s := shown{value: found}
	for i := range found.Categories {
		g := &found.Categories[i]
		t := table{title: g.Name, bare: true, columns: []column{{wide: true, right: true}, left("")}}
		for k := range g.Checks {
			c := &g.Checks[k]
			t.rows = append(t.rows, []string{fmt.Sprintf("%d ms", c.Millis), checkLine(p, c)})
			if c.Result != resultOK {
				s.names = append(s.names, "check/"+g.Name+"/"+c.Description)
			}
		}
		s.tables = append(s.tables, t)
	}
	status := p.good("all is well")
	if !found.Success {
		status = p.bad("not all is well")
	}
	s.tables = append(s.tables, line("Status: "+status))
	return s
}

func checkLine(p palette, c *checkResult) string {
	switch c.Result {
	case resultOK:
		if c.Detail == "" {
			return p.good("√ ") + c.Description
		}
		return p.good("√ ") + c.Description + ": " + c.Detail
	case resultSkipped:
		return p.faint("- " + c.Description + ": skipped, " + c.Error)
	case resultWarning:
		return p.warn("‼ ") + c.Description + "\n    " + indent(c.Error) + "\n    see " + c.Hint
	}
	return p.bad("× ") + c.Description + "\n    " + indent(c.Error) + "\n    see " + c.Hint
}
