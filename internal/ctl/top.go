package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/p2pd/p2pd/internal/api"
)

const (
	// topMembers bounds the peers of the matrix: more than any terminal shows.
	topMembers = 200
	// topWidth is how wide the matrix is where there is no terminal to ask.
	topWidth = 64
	// besides is what stands beside the matrix in a line.
	besides = 66
)

func (c *cli) topCommand() *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use: "top [DIGEST]", Short: "Watch a swarm fill: the pieces of each peer, sources and rates",
		Long: `Watch swarms. With DIGEST, or its first digits, each line is a peer and shows
which pieces it has; without, each line is a swarm in which a peer still lacks pieces.

  █ has all of the pieces there   ▓▒░ has some   ▪ a lease covers them, nobody has them   · missing

If standard output is not a terminal, one line for each swarm is printed at each interval.`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.scheduler()
			if err != nil {
				return err
			}
			t := &top{cl: cl, w: cmd.OutOrStdout(), p: colours(cmd.OutOrStdout())}
			if len(args) > 0 {
				if t.digest, err = cl.digestOf(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			return t.run(cmd.Context(), c.interval, count)
		}),
	}
	cmd.Flags().DurationVar(&c.interval, "interval", time.Second, "how often to refresh")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "number of refreshes; 0: until interrupted")
	return cmd
}

// top is what was seen last, and where to show it.
type top struct {
	cl     *client
	w      io.Writer
	p      palette
	digest string // empty: all active swarms
	at     time.Time
	last   map[string]api.Bytes // received, by peer or by swarm
}

func (t *top) run(ctx context.Context, every time.Duration, count int) error {
	if every <= 0 {
		return usage("--interval must be longer than nothing")
	}
	for n := 1; ; n++ {
		if err := t.once(ctx); err != nil {
			return err
		}
		if n == count {
			return nil
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
}

func (t *top) once(ctx context.Context) error {
	var lines []string
	now := time.Now()
	seen := make(map[string]api.Bytes)
	if t.digest != "" {
		d, err := t.cl.swarm(ctx, t.digest, topMembers)
		if err != nil {
			return err
		}
		lines = t.matrix(now, &d, seen)
	} else {
		list, err := t.cl.swarms(ctx, true, topMembers)
		if err != nil {
			return err
		}
		lines = t.list(now, &list, seen)
	}
	t.at, t.last = now, seen
	if isTerminal(t.w) {
		// Line by line over what was there, so that nothing flickers.
		fmt.Fprint(t.w, "\x1b[H")
		for _, l := range lines[:min(len(lines), t.height())] {
			fmt.Fprintf(t.w, "%s\x1b[K\r\n", l)
		}
		fmt.Fprint(t.w, "\x1b[J")
		return nil
	}
	for _, l := range lines {
		fmt.Fprintln(t.w, l)
	}
	return nil
}

// rates are the bytes a second of who was seen before.
func (t *top) rates(now time.Time, who string, b api.Bytes) (peers, origin float64) {
	before, known := t.last[who]
	took := now.Sub(t.at).Seconds()
	if !known || took <= 0 {
		return 0, 0
	}
	return max(0, float64(b.Peers-before.Peers)) / took, max(0, float64(b.Origin-before.Origin)) / took
}

// list is a line a swarm.
func (t *top) list(now time.Time, list *api.SwarmList, seen map[string]api.Bytes) []string {
	if len(list.Items) == 0 {
		return []string{now.Format(time.TimeOnly) + "  no swarm misses anything"}
	}
	var lines []string
	for i := range list.Items {
		sw := &list.Items[i]
		seen[sw.Digest] = sw.Bytes
		lines = append(lines, t.line(now, sw))
	}
	return lines
}

func (t *top) line(now time.Time, sw *api.Swarm) string {
	peers, origin := t.rates(now, sw.Digest, sw.Bytes)
	return fmt.Sprintf("%s  %s  %8s  %4s  %d members, %d seeds, %d leases  %s from peers, %s from origin (%s)",
		now.Format(time.TimeOnly), shortDigest(sw.Digest), bytesText(sw.Size), shareText(sw.Progress, 1), sw.Members, sw.Seeds, sw.Leases,
		rateText(peers), rateText(origin), copies(sw.Bytes.Origin, sw.Size))
}

// matrix is a line a peer; where there is no terminal, one for all.
func (t *top) matrix(now time.Time, d *api.SwarmDetail, seen map[string]api.Bytes) []string {
	seen[d.Digest] = d.Bytes
	lines := []string{t.line(now, &d.Swarm)}
	if !isTerminal(t.w) {
		return lines
	}
	width := t.width()
	leased := cells(t.reading(d), d.Pieces, width)
	lines = append(lines, "", fmt.Sprintf("%-13s %-8s %s  %4s %11s %11s %11s", "PEER", "ZONE", pad("PIECES", width), "HAVE", "FROM PEERS", "FROM ORIGIN", "SENT"))
	for _, m := range d.MemberItems {
		seen[m.Peer] = m.Bytes
		peers, origin := t.rates(now, m.Peer, m.Bytes)
		zone := dash(m.Zone)
		lines = append(lines, fmt.Sprintf("%-13.13s %-8.8s %s  %4s %11s %11s %11s", nodeOrPeer(m), zone,
			t.bar(m, leased, width), shareText(float64(m.Have), float64(m.Pieces)), rateText(peers), rateText(origin), bytesText(m.Sent)))
	}
	if d.Next != "" {
		lines = append(lines, fmt.Sprintf("… and %d more peers", d.Members-len(d.MemberItems)))
	}
	return lines
}

// reading are the pieces that a lease covers and that nobody has.
func (t *top) reading(d *api.SwarmDetail) string {
	left := make([]bool, d.Pieces)
	mark := func(ranges string, as bool) {
		_ = api.ParseRanges(ranges, d.Pieces, func(from, end int) { // what is no range is shown as missing
			for i := from; i < end; i++ {
				left[i] = as
			}
		})
	}
	mark(d.LeasedRanges, true)
	for _, m := range d.MemberItems {
		mark(m.Ranges, false)
	}
	return api.Ranges(func(yield func(int, int) bool) {
		for i, is := range left {
			if is && !yield(i, i+1) {
				return
			}
		}
	})
}

// nodeOrPeer is how people know a member.
func nodeOrPeer(m api.Membership) string {
	if m.Node != "" {
		return m.Node
	}
	return shortPeer(m.Peer)
}

// bar is one peer's pieces.
func (t *top) bar(m api.Membership, leased []float64, width int) string {
	have := cells(m.Ranges, m.Pieces, width)
	var b strings.Builder
	for i := 0; i < len(have); {
		mark, paint := t.cell(have[i], leased[i])
		end := i + 1
		for end < len(have) {
			if next, _ := t.cell(have[end], leased[end]); next != mark {
				break
			}
			end++
		}
		b.WriteString(paint(strings.Repeat(mark, end-i)))
		i = end
	}
	return b.String() + strings.Repeat(" ", width-len(have))
}

// cell is how pieces look of which a peer has a share.
func (t *top) cell(have, leased float64) (mark string, paint func(string) string) {
	plain := func(s string) string { return s }
	switch {
	case have >= 1:
		return "█", t.p.good
	case have >= 2.0/3:
		return "▓", t.p.good
	case have >= 1.0/3:
		return "▒", plain
	case have > 0:
		return "░", plain
	case leased > 0:
		return "▪", t.p.warn
	}
	return "·", t.p.faint
}

// cells is the share of pieces that are in ranges, for each of up to width cells
// that n pieces fall into.
func cells(ranges string, n, width int) []float64 {
	count := min(n, width)
	out := make([]float64, count)
	if count == 0 {
		return out
	}
	first := func(cell int) int { return cell * n / count }
	in := make([]bool, n)
	_ = api.ParseRanges(ranges, n, func(from, end int) { // what is no range is shown as missing
		for i := from; i < end; i++ {
			in[i] = true
		}
	})
	for c := range out {
		from, end := first(c), first(c+1)
		for i := from; i < end; i++ {
			if in[i] {
				out[c] += 1 / float64(end-from)
			}
		}
		if out[c] > 1-1e-9 {
			out[c] = 1
		}
	}
	return out
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-len(s))) }

// width is what the terminal has for the matrix, height what it has for lines.
func (t *top) width() int {
	columns, _ := t.size()
	return max(8, min(columns-besides, 200))
}

func (t *top) height() int {
	_, rows := t.size()
	return max(3, rows-1)
}

func (t *top) size() (columns, rows int) {
	type fder interface{ Fd() uintptr }
	if f, ok := t.w.(fder); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns, rows
		}
	}
	return topWidth + besides, 40
}
