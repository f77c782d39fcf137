package ctl

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

func (c *cli) peerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "peer", Short: "Show, ban and unban peers: the p2pd of all nodes, as the scheduler sees them",
		Aliases: []string{"peers"}, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.peerLsCommand(), c.peerShowCommand(), c.banCommand(), c.unbanCommand())
	return cmd
}

func (c *cli) peerLsCommand() *cobra.Command {
	var limit int
	cmd := c.watching(&cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List peers: those connected and those banned",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				list, err := cl.peers(ctx, limit)
				return peersShown(p, &list), err
			})
		}),
	})
	cmd.Flags().IntVar(&limit, "limit", 0, "show at most this many; 0: all")
	return cmd
}

func peersShown(p palette, list *api.PeerList) shown {
	s := shown{value: list}
	t := table{none: "no peer is connected", columns: []column{
		left("PEER"), left("NODE"), left("STATE"), left("ADDRESS"), left("ZONE"), wide("RACK"), right("SWARMS"), right("MISSING"), right("LEASES"),
		right("FROM PEERS"), right("FROM ORIGIN"), right("SENT"), right("CONNECTED"),
	}}
	for i := range list.Items {
		one := &list.Items[i]
		s.names = append(s.names, "peer/"+one.ID)
		t.rows = append(t.rows, []string{
			one.ID, dash(one.Node), p.stateText(one.State), dash(one.Bulk), dash(one.Zone), dash(one.Rack), strconv.Itoa(one.Swarms), strconv.Itoa(one.Missing),
			strconv.Itoa(one.Leases), bytesText(one.Bytes.Peers), bytesText(one.Bytes.Origin), bytesText(one.Sent), connected(one.Since),
		})
	}
	s.tables = []table{t}
	return s
}

func connected(at *time.Time) string {
	if at == nil {
		return "no"
	}
	return since(*at)
}

func (c *cli) peerShowCommand() *cobra.Command {
	return c.watching(&cobra.Command{
		Use: "show PEER", Short: "Show one peer and the swarms that it is a member of",
		Long: "Show one peer and the swarms that it is a member of. PEER may be the last characters of an ID, or the name of a node.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			id, err := cl.peerOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				var d api.PeerDetail
				err := cl.get(ctx, "/peers/"+id, nil, &d)
				return peerShown(p, &d), err
			})
		}),
	})
}

// idLength is how long the text form of an Ed25519 peer ID is.
const idLength = 52

// peerOf is the ID of a peer that is named in full, by the end of it, or by its
// node.
func (cl *client) peerOf(ctx context.Context, text string) (string, error) {
	text = strings.TrimPrefix(text, "…")
	if len(text) >= idLength {
		return text, nil
	}
	list, err := cl.peers(ctx, 0)
	if err != nil {
		return "", err
	}
	var found []string
	for _, p := range list.Items {
		if p.ID == text {
			return p.ID, nil
		}
		if strings.HasSuffix(p.ID, text) || p.Node == text {
			found = append(found, p.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no peer's ID ends with %s, and no node is called so; p2pctl peer ls shows them", text)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s could be %s or %s; type more of it", text, found[0], found[1])
}

func peerShown(p palette, d *api.PeerDetail) shown {
	s := shown{value: d, names: []string{"peer/" + d.ID}}
	head := table{title: d.ID, bare: true, columns: []column{left(""), left("")}, rows: [][]string{
		{"  node", dash(d.Node)},
		{"  state", p.stateText(d.State)},
		{"  connected", connected(d.Since)},
		{"  zone", dash(d.Zone)},
		{"  rack", dash(d.Rack)},
		{"  addresses", dash(strings.Join(d.Addresses, " "))},
		{"  bulk", dash(d.Bulk)},
		{"  received", fmt.Sprintf("%s from peers, %s from registries", bytesText(d.Bytes.Peers), bytesText(d.Bytes.Origin))},
		{"  sent", bytesText(d.Sent)},
	}}
	if d.Ban != nil {
		head.rows = append(head.rows, []string{"  banned", fmt.Sprintf("for another %s: %s", ageText(time.Until(d.Ban.Until)), d.Ban.Reason)})
	}
	if d.Suspect != nil {
		head.rows = append(head.rows, []string{"  suspect", fmt.Sprintf("blamed for false bytes by %s, for another %s", strings.Join(d.AccusedBy, " "), ageText(time.Until(d.Suspect.Until)))})
	}
	t := table{none: "it is a member of no swarm", columns: []column{
		left("SWARM"), right("SIZE"), right("HAVE"), right("LEASES"), right("FROM PEERS"), right("FROM ORIGIN"), right("SENT"),
	}}
	for _, m := range d.Memberships {
		t.rows = append(t.rows, []string{
			shortDigest(m.Digest), bytesText(m.Size), fmt.Sprintf("%d/%d", m.Have, m.Pieces), strconv.Itoa(m.Leases),
			bytesText(m.Bytes.Peers), bytesText(m.Bytes.Origin), bytesText(m.Sent),
		})
	}
	s.tables = []table{head, t}
	return s
}

func (c *cli) banCommand() *cobra.Command {
	var ask api.BanRequest
	cmd := &cobra.Command{
		Use: "ban PEER", Short: "Close all swarms to a peer for a while",
		Long: `Close all swarms to a peer, at every scheduler of the cluster. Its neighbours drop it, its
leases on registries go to other peers, and its requests to join are refused. In a closed
cluster every peer is told, and drops it within five seconds. In an open cluster peers that
find each other without a scheduler can still find it.`,
		Example: `  p2pctl peer ban 12D3KooW… --for 24h --reason "its disk is broken"`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			if ask.Reason == "" {
				return usage("give a reason with --reason: it is shown with the ban")
			}
			return c.change(cmd, args[0], func(ctx context.Context, cl *client, id string, d *api.PeerDetail) error {
				return cl.do(ctx, http.MethodPost, "/peers/"+id+"/ban", ask, d)
			})
		}),
	}
	cmd.Flags().StringVar(&ask.For, "for", "1h", "how long, at most 720h")
	cmd.Flags().StringVar(&ask.Reason, "reason", "", "reason, shown to operators")
	return cmd
}

func (c *cli) unbanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unban PEER", Short: "End a ban; the peer connects anew and announces what it has",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			return c.change(cmd, args[0], func(ctx context.Context, cl *client, id string, d *api.PeerDetail) error {
				return cl.do(ctx, http.MethodDelete, "/peers/"+id+"/ban", nil, d)
			})
		}),
	}
}

// change changes something about a peer and shows what it is afterwards.
func (c *cli) change(cmd *cobra.Command, peer string, f func(context.Context, *client, string, *api.PeerDetail) error) error {
	cl, err := c.scheduler()
	if err != nil {
		return err
	}
	id, err := cl.peerOf(cmd.Context(), peer)
	if err != nil {
		return err
	}
	var d api.PeerDetail
	if err := f(cmd.Context(), cl, id, &d); err != nil {
		return err
	}
	return c.print(cmd.OutOrStdout(), peerShown(colours(cmd.OutOrStdout()), &d))
}
