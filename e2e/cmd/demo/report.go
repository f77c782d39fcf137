package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/p2pd/p2pd/e2e/lab"
)

const mib = 1 << 20

// report prints the table and what the run cost the origin.
func report(out io.Writer, o options, img lab.Image, states []state, tally lab.Tally) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\ttime\tfrom peers\tfrom origin\thad it\tshare of peers\t")
	slowest, peers := 0.0, 0.0
	for _, s := range states {
		got := s.peers + s.origin + s.store()
		fmt.Fprintf(w, "%s\t%.1f s\t%.1f MiB\t%.1f MiB\t%.1f MiB\t%.0f %%\t\n", s.name, s.took.Seconds(),
			s.peers/mib, s.origin/mib, s.store()/mib, percent(s.peers, got))
		slowest, peers = max(slowest, s.took.Seconds()), peers+s.peers
	}
	_ = w.Flush() // to a terminal: nobody else to tell
	all := float64(img.Bytes) * float64(len(states))
	bound := lab.Bound(o.Nodes, lab.Size(img.Bytes), o.OriginRate, o.NodeRate, o.NodeRate).Seconds()
	direct := all / o.OriginRate.BytesPerSecond()
	fmt.Fprintf(out, "\nslowest node      %6.1f s\n", slowest)
	fmt.Fprintf(out, "lower bound       %6.1f s   max(F/Us, F/d, N·F/(Us+N·u)): no protocol can be faster\n", bound)
	fmt.Fprintf(out, "ratio             %6.2f\n", slowest/bound)
	fmt.Fprintf(out, "without p2pd      %6.1f s   at the least: all copies through the origin's link\n", max(direct, bound))
	fmt.Fprintf(out, "origin sent       %6.2f copies of %.0f MiB, in %d blob requests\n",
		float64(tally.BlobBytes)/float64(img.Bytes), float64(img.Bytes)/mib, tally.Requests[lab.BlobGet])
	if tally.DirectBytes() > 0 {
		fmt.Fprintf(out, "past p2pd         %6.2f copies: containerd turned to the origin by itself\n", float64(tally.DirectBytes())/float64(img.Bytes))
	}
	fmt.Fprintf(out, "peers carried     %6.1f %%  of all bytes\n", percent(peers, all))
}
