package ctl

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// What nodes told the scheduler of pulls that have ended, and of what went wrong.

func (c *cli) pullCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pull", Short: "Pulls of images that have ended, on all nodes",
		Aliases: []string{"pulls"}, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listOf(c, "List the images that nodes pulled in the last day", "/pulls", imagesShown), c.pullShowCommand())
	return cmd
}

func (c *cli) pullShowCommand() *cobra.Command {
	return c.watching(&cobra.Command{
		Use: "show IMAGE|DIGEST", Short: "Show an image's slowest pull, and its latest ones: when each blob was asked for, and came",
		Long: `Show an image's slowest and latest pulls, on whatever node: when each blob was asked for,
had its first byte, and was there, and from where. DIGEST is that of its manifest, or the
first digits of it. IMAGE is as p2pctl pull ls lists it. What happened to a blob on one
node, p2pctl explain tells there.`,
		Example: `  p2pctl pull show registry.example/app:1.2
  p2pctl pull show 4f53cda18c2b`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			digest, err := cl.pulledImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				var d api.PulledImageDetail
				err := cl.get(ctx, "/pulls/"+digest, nil, &d)
				return pullsShown(p, &d), err
			})
		}),
	})
}

// pulledImage is the digest of an image that was pulled, by its name or the first
// digits of the digest.
func (cl *client) pulledImage(ctx context.Context, text string) (string, error) {
	var list api.PulledImageList
	if err := cl.get(ctx, "/pulls", nil, &list); err != nil {
		return "", err
	}
	for _, i := range list.Items { // the latest of that name
		if i.Image == text {
			return i.Digest, nil
		}
	}
	if !isDigest(text) {
		return "", fmt.Errorf("no node told of a pull of %s in the last day; p2pctl pull ls shows what they told", text)
	}
	return named(text, "p2pctl pull ls", func(string) (all []string, err error) {
		for _, i := range list.Items {
			all = append(all, i.Digest)
		}
		return all, nil
	})
}

func imagesShown(p palette, list *api.PulledImageList) shown {
	s := shown{value: list}
	t := table{none: "no node told of a pull in the last day", columns: []column{
		left("IMAGE"), wide("DIGEST"), right("PULLS"), right("FAILED"), wide("PARTIAL"), right("MEDIAN"), right("SLOWEST"), left("ON"),
		right("FROM PEERS"), right("FROM ORIGIN"), wide("FROM CACHE"), right("AGO"),
	}}
	for i := range list.Items {
		one := &list.Items[i]
		s.names = append(s.names, "pull/"+one.Digest)
		failed := strconv.Itoa(one.Failed)
		if one.Failed > 0 {
			failed = p.bad(failed)
		}
		t.rows = append(t.rows, []string{
			one.Image, shortDigest(one.Digest), strconv.Itoa(one.Pulls), failed, strconv.Itoa(one.Partial), millisText(one.MedianMillis), millisText(one.SlowestMillis),
			nodeText(one.SlowestNode, ""), bytesText(one.FromPeers), bytesText(one.FromOrigin), bytesText(one.FromCache), since(one.Last),
		})
	}
	s.tables = []table{t}
	return s
}

// pullsShown shows the slowest pull, and the latest others.
func pullsShown(p palette, d *api.PulledImageDetail) shown {
	s := shown{value: d, names: []string{"pull/" + d.Digest}}
	s.tables = append(s.tables, table{title: d.Image, bare: true, columns: []column{left(""), left("")}, rows: [][]string{
		{"  digest", d.Digest},
		{"  pulls", fmt.Sprintf("%d: %d complete, %d failed, %d partial", d.Pulls, d.Complete, d.Failed, d.Partial)},
		{"  took", fmt.Sprintf("%s in the middle, %s at most, on %s", millisText(d.MedianMillis), millisText(d.SlowestMillis), nodeText(d.SlowestNode, ""))},
		{"  received", fmt.Sprintf("%s from peers, %s from registries, %s were there", bytesText(d.FromPeers), bytesText(d.FromOrigin), bytesText(d.FromCache))},
	}})
	for i := range d.Slowest[:min(len(d.Slowest), 1)] {
		s.tables = append(s.tables, onePull(p, "SLOWEST", &d.Slowest[i]))
	}
	for i := range d.Latest {
		if l := &d.Latest[i]; len(d.Slowest) == 0 || l.Peer != d.Slowest[0].Peer || l.Millis != d.Slowest[0].Millis {
			s.tables = append(s.tables, onePull(p, "LATEST", l))
		}
	}
	return s
}

// onePull is a waterfall: a line a blob, dots until its first byte, and a bar until
// it was there.
func onePull(p palette, what string, one *api.Pull) table {
	t := table{
		title:   fmt.Sprintf("%s: %s on %s, %s ago, in %s, the manifest after %s", what, pullState(p, one.Outcome), nodeText(one.Node, one.Peer), since(one.Began), millisText(one.Millis), millisText(one.ManifestMillis)),
		columns: []column{left("  BLOB"), right("SIZE"), right("ASKED"), right("FIRST BYTE"), right("DONE"), right("FROM PEERS"), right("FROM ORIGIN"), right("FROM CACHE"), left("")},
		none:    "  no blob was asked for",
	}
	for _, b := range one.Blobs {
		t.rows = append(t.rows, []string{
			"  " + shortDigest(b.Digest), bytesText(b.Size), millisText(b.AskedMillis), momentText(b.FirstMillis), momentText(b.DoneMillis),
			bytesText(b.FromPeers), bytesText(b.FromOrigin), bytesText(b.FromCache), blobBar(&b, one.Millis),
		})
	}
	return t
}

// blobBar draws a blob over the time of its pull.
func blobBar(b *api.PulledBlob, whole int64) string {
	cell := func(ms int64) int { return int(barCells * min(ms, whole) / max(1, whole)) }
	asked, end := min(cell(b.AskedMillis), barCells-1), barCells
	if b.DoneMillis != nil {
		end = max(cell(*b.DoneMillis), asked+1)
	}
	first := end
	if b.FirstMillis != nil {
		first = min(max(cell(*b.FirstMillis), asked), end-1)
	}
	return strings.Repeat(" ", asked) + strings.Repeat("·", first-asked) + strings.Repeat("█", end-first)
}

func pullState(p palette, outcome string) string {
	switch outcome {
	case "complete":
		return p.good(outcome)
	case "failed":
		return p.bad(outcome)
	}
	return p.warn(outcome)
}

func (c *cli) incidentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "incident", Short: "What clients were refused, and bytes that were false, on all nodes",
		Aliases: []string{"incidents"}, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listOf(c, "List what went wrong in the last day: refusals of registries, and bytes that were not what a digest promised", "/incidents", incidentsShown))
	return cmd
}

func incidentsShown(_ palette, list *api.IncidentList) shown {
	s := shown{value: list}
	t := table{none: "no node told of anything in the last day", columns: []column{
		left("KIND"), left("ABOUT"), right("TIMES"), left("NODES"), right("AGO"), left("WHY"), wide("WHAT TO DO"),
	}}
	for i := range list.Items {
		one := &list.Items[i]
		s.names = append(s.names, one.Kind+"/"+one.About)
		why := one.Reason
		if one.Status > 0 {
			why = fmt.Sprintf("%d %s: %s", one.Status, http.StatusText(one.Status), why)
		}
		t.rows = append(t.rows, []string{one.Kind, one.About, strconv.Itoa(one.Times), nodesText(one), since(one.Last), why, dash(one.Advice)})
	}
	s.tables = []table{t}
	return s
}

// nodeText is a node's name, or where it has none the end of its peer ID.
func nodeText(node, peer string) string {
	if name := cmp.Or(node, peer); len(name) < idLength {
		return name
	}
	return shortPeer(cmp.Or(node, peer))
}

// nodesText is the one node where something happened, or how many there were.
func nodesText(one *api.Incident) string {
	switch {
	case one.MoreNodes:
		return fmt.Sprintf("more than %d", len(one.Nodes))
	case len(one.Nodes) == 1:
		return nodeText(one.Nodes[0], "")
	}
	return strconv.Itoa(len(one.Nodes))
}

func millisText(ms int64) string {
	if ms == 0 {
		return "-"
	}
	d := time.Duration(ms) * time.Millisecond
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.String()
}

func momentText(ms *int64) string {
	if ms == nil {
		return "never"
	}
	return (time.Duration(*ms) * time.Millisecond).String()
}
