package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// handInWithin bounds what telling a program of a result may take: the check has
// been made, and somebody waits for what it found.
const handInWithin = 5 * time.Second

// handIn has the live page show what a check found: this node's p2pd tells all
// schedulers; where it cannot, the scheduler that is asked is told. Where nobody
// answers, that is no part of the check; w hears of anything else.
func (k *checkup) handIn(ctx context.Context, w io.Writer, found *checkResults, took time.Duration) {
	if !k.installed {
		return // there is no node yet that a page could show
	}
	run := k.runOf(found, took)
	var why error
	for _, to := range []func() (*client, error){k.cli.p2pd, k.cli.scheduler} {
		cl, err := to()
		if err == nil {
			err = cl.handIn(ctx, run)
		}
		if err == nil {
			return
		}
		if !nobodyTakes(err) {
			why = errors.Join(why, err)
		}
	}
	if why != nil && ctx.Err() == nil {
		fmt.Fprintf(w, "the live page does not show this: %v\n", why)
	}
}

func (cl *client) handIn(ctx context.Context, run *api.CheckRun) error {
	ctx, cancel := context.WithTimeout(ctx, handInWithin)
	defer cancel()
	var taken api.Taken
	return cl.do(ctx, http.MethodPost, "/checks", run, &taken)
}

// nobodyTakes reports whether an error says that there is nobody who could: the
// program is away, is older than this, has no scheduler, or was not named.
func nobodyTakes(err error) bool {
	if _, away := errors.AsType[*unreachableError](err); away {
		return true
	}
	_, unnamed := errors.AsType[usageError](err)
	return unnamed || isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusServiceUnavailable)
}

// runOf is what a page shows of a check.
func (k *checkup) runOf(found *checkResults, took time.Duration) *api.CheckRun {
	run := &api.CheckRun{Millis: took.Milliseconds(), EverySeconds: int64(k.every.Seconds()), Success: found.Success, Image: k.image, Findings: []api.CheckFinding{}}
	run.Node, _ = os.Hostname() // without one it is known by its peer
	if k.node != nil && k.node.Node != nil {
		run.Peer = k.node.Node.ID
	}
	for _, g := range found.Categories {
		for _, c := range g.Checks {
			if c.Result != resultSkipped {
				run.Made++
			}
			if c.Result == resultError || c.Result == resultWarning {
				run.Findings = append(run.Findings, api.CheckFinding{ID: c.ID, Category: g.Name, Description: c.Description, Result: c.Result, Error: c.Error, Hint: c.Hint})
			}
		}
	}
	if found.Pull != nil {
		run.PullMillis = found.Pull.Millis
	}
	if s := found.Start; s != nil && s.PullMillis > 0 {
		run.PullMillis, run.StartMillis = s.PullMillis, s.StartMillis
	}
	return run
}

func (c *cli) checkLsCommand() *cobra.Command {
	return listOf(c, "List the last check of each node, as the scheduler was told", "/checks", checksShown)
}

func checksShown(p palette, list *api.CheckRunList) shown {
	s := shown{value: list}
	t := table{none: "no check was handed in; p2pctl check on a node makes one", columns: []column{
		left("NODE"), left("RESULT"), right("AGO"), right("EVERY"), right("TOOK"), right("PULL"), right("FAILED"), wide("IMAGE"), left("WHAT"),
	}}
	for i := range list.Items {
		run := &list.Items[i]
		s.names = append(s.names, "check/"+cmp.Or(run.Node, run.Peer))
		result, what := p.good("well"), "-"
		if !run.Success {
			result = p.bad("failed")
		}
		if len(run.Findings) > 0 {
			what = run.Findings[0].Category + ": " + run.Findings[0].Error
		}
		t.rows = append(t.rows, []string{
			nodeText(run.Node, run.Peer), result, since(run.At), secondsText(run.EverySeconds), millisText(run.Millis), millisText(run.PullMillis),
			fmt.Sprintf("%d/%d", run.Failures, run.Runs), dash(run.Image), what,
		})
	}
	s.tables = []table{t}
	return s
}

func secondsText(n int64) string {
	if n == 0 {
		return "-"
	}
	return (time.Duration(n) * time.Second).String()
}
