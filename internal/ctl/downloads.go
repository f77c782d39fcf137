package ctl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

func (c *cli) downloadsCommand() *cobra.Command {
	return listing(c, &cobra.Command{
		Use: "downloads", Short: "List running downloads of this node, with their sources and rates",
	}, c.p2pd, "/downloads", downloadsShown)
}

func downloadsShown(_ palette, list *api.DownloadList) shown {
	s := shown{value: list}
	t := table{none: "nothing is arriving", columns: []column{
		left("DIGEST"), right("SIZE"), right("HAVE"), left("FOR"), right("FROM PEERS"), right("FROM ORIGIN"), right("NEIGHBOURS"), right("READS"), right("RATE"), right("AGE"),
	}}
	for i := range list.Items {
		d := &list.Items[i]
		s.names = append(s.names, "download/"+d.Digest)
		b, rate := fromWhom(d.Given), int64(0)
		for _, n := range d.Neighbours {
			rate += n.BytesPerSecond
		}
		t.rows = append(t.rows, []string{
			shortDigest(d.Digest), bytesText(d.Size), shareText(float64(d.Have), float64(d.Pieces)), whom(d), bytesText(b.Peers), bytesText(b.Origin),
			strconv.Itoa(len(d.Neighbours)), strconv.Itoa(len(d.Reads)), rateText(float64(rate)), since(d.Started),
		})
	}
	s.tables = []table{t}
	for i := range list.Items {
		if d := &list.Items[i]; len(d.Neighbours)+len(d.Reads) > 0 {
			s.tables = append(s.tables, neighboursTable(d))
		}
	}
	return s
}

// whom a download is for.
func whom(d *api.Download) string {
	switch {
	case d.Ahead:
		return "nobody yet"
	case d.Readers == 0:
		return "nobody any more"
	}
	text := fmt.Sprintf("%d readers", d.Readers)
	if d.Readers == 1 {
		text = "1 reader"
	}
	if d.Partial {
		text += " of parts"
	}
	return text
}

// fromWhom adds up who gave what. What was on the disk is neither's.
func fromWhom(given []api.Given) (b api.Bytes) {
	for _, g := range given {
		switch g.From {
		case "origin":
			b.Origin += g.Bytes
		case "disk":
		default:
			b.Peers += g.Bytes
		}
	}
	return b
}

func neighboursTable(d *api.Download) table {
	t := table{title: d.Digest, columns: []column{left("  FROM"), left("ZONE"), right("HAS"), right("REQUESTS"), right("RATE"), left("STATE")}}
	for _, r := range d.Reads {
		what := "pieces " + r.Ranges
		if r.Whole {
			what = "the whole blob"
		}
		t.rows = append(t.rows, []string{"  the registry", "-", "-", "1", "-", fmt.Sprintf("reading %s: %s so far", what, bytesText(r.Bytes))})
	}
	for _, n := range d.Neighbours {
		state := "ready"
		switch {
		case !n.Answered:
			state = "has not answered"
		case n.Resting:
			state = "busy or failed a moment ago"
		case n.Have == 0:
			state = "has nothing so far"
		}
		t.rows = append(t.rows, []string{"  " + shortPeer(n.Peer), dash(n.Zone), fmt.Sprintf("%d/%d", n.Have, d.Pieces), strconv.Itoa(n.Requests), rateText(float64(n.BytesPerSecond)), strings.TrimSpace(state)})
	}
	return t
}
