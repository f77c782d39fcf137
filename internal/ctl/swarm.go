package ctl

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

func (c *cli) swarmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "swarm", Short: "Show swarms: the peers that hold or want a blob",
		Aliases: []string{"swarms"}, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.swarmLsCommand(), c.swarmShowCommand(), c.topCommand())
	return cmd
}

func (c *cli) swarmLsCommand() *cobra.Command {
	var active bool
	var limit int
	cmd := c.watching(&cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List swarms",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				list, err := cl.swarms(ctx, active, limit)
				return swarmsShown(&list, active), err
			})
		}),
	})
	cmd.Flags().BoolVar(&active, "active", false, "only those in which a peer still lacks pieces")
	cmd.Flags().IntVar(&limit, "limit", 0, "show at most this many; 0: all")
	return cmd
}

func swarmsShown(list *api.SwarmList, active bool) shown {
	s := shown{value: list}
	t := table{none: "there are no swarms: no peer holds or wants anything", columns: []column{
		left("DIGEST"), right("SIZE"), {name: "PIECES", wide: true, right: true}, right("MEMBERS"), right("SEEDS"), right("PROGRESS"),
		right("LEASES"), {name: "FREE", wide: true, right: true}, right("FROM PEERS"), right("FROM ORIGIN"), wide("RANGES"), right("AGE"),
	}}
	if active {
		t.none = "no swarm misses anything"
	}
	for _, sw := range list.Items {
		s.names = append(s.names, "swarm/"+sw.Digest)
		t.rows = append(t.rows, []string{
			shortDigest(sw.Digest), bytesText(sw.Size), strconv.Itoa(sw.Pieces), strconv.Itoa(sw.Members), strconv.Itoa(sw.Seeds),
			shareText(sw.Progress, 1), strconv.Itoa(sw.Leases), strconv.Itoa(sw.FreePieces), bytesText(sw.Bytes.Peers), bytesText(sw.Bytes.Origin),
			yes(!sw.Rangeless), since(sw.Since),
		})
	}
	s.tables = []table{t}
	return s
}

func (c *cli) swarmShowCommand() *cobra.Command {
	var limit int
	var reg registry
	cmd := c.watching(&cobra.Command{
		Use: "show DIGEST|IMAGE", Short: "Show one swarm, or those of an image's layers",
		Long: `Show one swarm: its zones, leases and members. DIGEST may be shortened to its first digits.

For an IMAGE, written with its registry and its tag or digest, there is one line for the swarm of each
layer, of the manifest and of the configuration: how many peers hold or want it, and what they
have. The registry is asked for the list of layers, with the credentials of docker login.`,
		Example: `  p2pctl swarm show 4f53cda18c2b
  p2pctl swarm show registry.example/app:1.2 --watch`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			if isImage(args[0]) {
				return c.showImage(cmd, cl, args[0], &reg)
			}
			digest, err := cl.digestOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				d, err := cl.swarm(ctx, digest, limit)
				return swarmShown(p, &d), err
			})
		}),
	})
	cmd.Flags().IntVar(&limit, "limit", 0, "show at most this many members; 0: all")
	reg.flags(cmd)
	return cmd
}

func swarmShown(p palette, d *api.SwarmDetail) shown {
	s := shown{value: d, names: []string{"swarm/" + d.Digest}}
	head := table{title: d.Digest, bare: true, columns: []column{left(""), left("")}, rows: [][]string{
		{"  size", fmt.Sprintf("%s (%d bytes), %d pieces of %s", bytesText(d.Size), d.Size, d.Pieces, bytesText(d.PieceSize))},
		{"  members", fmt.Sprintf("%d, of which %d have all; %s of all pieces are where they should be", d.Members, d.Seeds, shareText(d.Progress, 1))},
		{"  received", fmt.Sprintf("%s from peers, %s from the registry (%s)", bytesText(d.Bytes.Peers), bytesText(d.Bytes.Origin), copies(d.Bytes.Origin, d.Size))},
		{"  since", since(d.Since)},
	}}
	if d.FreePieces > 0 {
		head.rows = append(head.rows, []string{"  free", fmt.Sprintf("%d pieces that nobody has and nobody reads", d.FreePieces)})
	}
	if d.Rangeless {
		head.rows = append(head.rows, []string{"  ranges", p.warn("the registry serves this blob from front to end only, so that one peer at a time reads it")})
	}
	s.tables = []table{head}
	if len(d.Zones) > 1 || len(d.Zones) == 1 && d.Zones[0].Zone != "" {
		t := table{columns: []column{left("ZONE"), right("MEMBERS"), right("SEEDS"), right("GATEWAYS"), right("FROM ITS ZONE"), right("FROM OTHERS"), right("FROM ORIGIN")}}
		for _, z := range d.Zones {
			t.rows = append(t.rows, []string{dash(z.Zone), strconv.Itoa(z.Members), strconv.Itoa(z.Seeds), strconv.Itoa(z.Gateways), bytesText(z.FromZone), bytesText(z.FromOtherZones), bytesText(z.FromOrigin)})
		}
		s.tables = append(s.tables, t)
	}
	if len(d.LeasesOut) > 0 {
		t := table{columns: []column{right("LEASE"), left("HOLDER"), left("REGISTRY"), left("PIECES"), right("READ"), right("AGE"), right("LAST BYTE")}}
		for _, l := range d.LeasesOut {
			t.rows = append(t.rows, []string{strconv.FormatUint(l.ID, 10), shortPeer(l.Holder), l.Registry, leased(l), bytesText(l.Bytes), since(l.Granted), since(l.Moved)})
		}
		s.tables = append(s.tables, t)
	}
	s.tables = append(s.tables, membersTable(p, d))
	return s
}

func leased(l api.Lease) string {
	if l.Whole {
		return "all"
	}
	return l.Ranges
}

func membersTable(p palette, d *api.SwarmDetail) table {
	t := table{columns: []column{
		left("PEER"), left("NODE"), left("ZONE"), wide("RACK"), right("HAVE"), left("STATE"), right("LEASES"), right("NEIGHBOURS"),
		right("FROM PEERS"), right("FROM ORIGIN"), right("SENT"), wide("PIECES"),
	}}
	for _, m := range d.MemberItems {
		t.rows = append(t.rows, []string{
			shortPeer(m.Peer), dash(m.Node), dash(m.Zone), dash(m.Rack), fmt.Sprintf("%d/%d", m.Have, m.Pieces), memberState(p, m), strconv.Itoa(m.Leases),
			strconv.Itoa(len(m.Neighbours)), bytesText(m.Bytes.Peers), bytesText(m.Bytes.Origin), bytesText(m.Sent), dash(m.Ranges),
		})
	}
	return t
}

func memberState(p palette, m api.Membership) string {
	var is []string
	switch {
	case m.Doubted:
		is = append(is, p.bad("doubted"))
	case m.Stalled:
		is = append(is, p.warn("stalled"))
	case m.Seed:
		is = append(is, p.good("seed"))
	default:
		is = append(is, "pulling")
	}
	if m.Gateway {
		is = append(is, "gateway")
	}
	return strings.Join(is, ",")
}

// copies is how often the registry gave each byte.
func copies(origin, size int64) string {
	if size <= 0 {
		return "size not known"
	}
	return fmt.Sprintf("%.2f copies", float64(origin)/float64(size))
}
