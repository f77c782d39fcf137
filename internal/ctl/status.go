package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// statuses is what p2pctl status answers: of each program that answers.
type statuses struct {
	api.Meta
	Scheduler *api.Status `json:"scheduler,omitempty"`
	Node      *api.Status `json:"node,omitempty"`
}

func (c *cli) statusCommand() *cobra.Command {
	return c.watching(&cobra.Command{
		Use: "status", Short: "Show the state of the scheduler and of this node's p2pd in brief",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) { return c.status(ctx, cmd, p) })
		}),
	})
}

// status asks both. That one of them is not here is usual: most nodes have no
// scheduler.
func (c *cli) status(ctx context.Context, cmd *cobra.Command, p palette) (shown, error) {
	st := statuses{Meta: api.Of("Statuses")}
	s := shown{value: &st}
	var missing []error
	for _, one := range []struct {
		client func() (*client, error)
		into   **api.Status
		name   string
		table  func(palette, *api.Status) table
	}{{c.scheduler, &st.Scheduler, "scheduler", schedulerTable}, {c.p2pd, &st.Node, "node", nodeTable}} {
		cl, err := one.client()
		if err != nil {
			return s, err
		}
		var got api.Status
		err = cl.get(ctx, "/status", nil, &got)
		if _, absent := errors.AsType[*unreachableError](err); absent {
			missing = append(missing, err)
			continue
		}
		if err != nil {
			return s, err
		}
		*one.into = &got
		s.names = append(s.names, one.name)
		s.tables = append(s.tables, one.table(p, &got))
	}
	if n := st.Node; n != nil && n.Scheduler != nil && st.Scheduler == nil { // it is in the same program
		s.tables = append(s.tables, schedulerTable(p, n))
		missing = nil
	}
	if len(s.names) == 0 {
		return s, errors.Join(missing...)
	}
	for _, err := range missing {
		fmt.Fprintln(cmd.ErrOrStderr(), p.faint(err.Error()))
	}
	return s, nil
}

func schedulerTable(_ palette, st *api.Status) table {
	s := st.Scheduler
	t := table{title: "SCHEDULER", columns: []column{left(""), left("")}, bare: true}
	if s == nil {
		t.none = "  the program that answers is no scheduler; --server should name one"
		return t
	}
	t.rows = [][]string{
		{"  version", st.Version + ", up " + ageText(time.Duration(st.UptimeSeconds)*time.Second)},
		{"  peers", fmt.Sprintf("%d connected, %d banned", s.Peers, s.Bans)},
		{"  swarms", fmt.Sprintf("%d, of which %d still miss something", s.Swarms, s.ActiveSwarms)},
		{"  leases", fmt.Sprintf("%d out; %d done, %d failed, %d expired", s.Leases, s.LeasesDone, s.LeasesFailed, s.LeasesExpired)},
		{"  blames", fmt.Sprintf("%d for false bytes; %d unreachable, %d slow", s.Blames.False, s.Blames.Unreachable, s.Blames.Slow)},
		{"  received", fmt.Sprintf("%s from peers, %s from registries (%s saved)", bytesText(s.Bytes.Peers), bytesText(s.Bytes.Origin), shareText(float64(s.Bytes.Peers), float64(s.Bytes.Peers+s.Bytes.Origin)))},
	}
	if len(s.Zones) > 1 {
		for _, z := range s.Zones {
			t.rows = append(t.rows, []string{"  zone", fmt.Sprintf("%s: %d peers; %s from their own zone, %s from others, %s from registries",
				dash(z.Zone), z.Peers, bytesText(z.FromZone), bytesText(z.FromOtherZones), bytesText(z.FromOrigin))})
		}
	}
	for _, r := range s.Registries {
		line := fmt.Sprintf("%s: %d leases, %s, a lease gets %s", r.Host, r.Leases, bytesText(r.Bytes), rateText(float64(r.LeaseBytesPerSecond)))
		if r.AwayUntil != nil {
			line += fmt.Sprintf("; it asked to be left alone for another %s", ageText(time.Until(*r.AwayUntil)))
		}
		t.rows = append(t.rows, []string{"  registry", line})
	}
	return t
}

func nodeTable(p palette, st *api.Status) table {
	n := st.Node
	t := table{title: "NODE", columns: []column{left(""), left("")}, bare: true}
	if n == nil {
		t.none = "  the program that answers is no p2pd; --node should name one"
		return t
	}
	sched := p.good("connected to " + n.Scheduler)
	switch {
	case n.Scheduler == "":
		sched = "none is configured: peers find each other"
	case !n.Connected:
		sched = p.warn("not connected to " + n.Scheduler + ", peers find each other meanwhile: " + cmp.Or(n.SchedulerTrouble, "it still tries"))
	}
	where := dash(n.Zone)
	if n.Rack != "" {
		where += ", rack " + n.Rack
	}
	t.rows = [][]string{
		{"  version", st.Version + ", up " + ageText(time.Duration(st.UptimeSeconds)*time.Second)},
		{"  peer", n.ID},
		{"  zone", where},
		{"  mirror", n.Mirror},
		{"  scheduler", sched},
		{"  downloads", fmt.Sprintf("%d running", n.Downloads)},
		{"  cache", fmt.Sprintf("%d blobs, %s of %s", n.Blobs, bytesText(n.CacheBytes), bytesText(n.CacheCapacity))},
		{"  received", fmt.Sprintf("%s from peers, %s from registries", bytesText(n.Bytes.Peers), bytesText(n.Bytes.Origin))},
		{"  sent", fmt.Sprintf("%s to peers, %s to clients", bytesText(n.Sent), bytesText(n.Served))},
	}
	if n.FalsePieces+n.FalseBlobs > 0 {
		t.rows = append(t.rows, []string{"  verification", p.bad(fmt.Sprintf("%d pieces and %d blobs were not what they should be", n.FalsePieces, n.FalseBlobs))})
	}
	return t
}
