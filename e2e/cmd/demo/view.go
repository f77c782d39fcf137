package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// view draws the nodes' progress: on a terminal one bar a node, redrawn in
// place; elsewhere one line for all of them every two seconds.
type view struct {
	out   *os.File
	total float64 // bytes of the image
	every time.Duration
	width int // of the terminal; 0: not a terminal
	drawn int // lines to go back up
}

const (
	terminalEvery = 200 * time.Millisecond
	logEvery      = 2 * time.Second
	// besidesBar is how much of a line the bar cannot have.
	besidesBar = 66
	maxBar     = 60
)

func newView(out *os.File, total int64) *view {
	v := &view{out: out, total: float64(total), every: logEvery}
	if size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
		v.width, v.every = max(int(size.Col), besidesBar+10), terminalEvery
	}
	return v
}

func (v *view) draw(states []state, elapsed time.Duration, last bool) {
	if v.width == 0 {
		v.line(states, elapsed)
		return
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, s := range states {
		fmt.Fprintf(&b, "\x1b[2K%s\n", v.bar(s))
	}
	b.WriteString("\x1b[2K\x1b[2m█ from peers  ▓ from the origin  ▒ had it\x1b[0m\n")
	v.drawn = len(states) + 1
	if last {
		b.WriteString("\n")
	}
	fmt.Fprint(v.out, b.String())
}

// bar is one node's line.
func (v *view) bar(s state) string {
	cells := min(v.width-besidesBar, maxBar)
	got := s.peers + s.origin + s.store()
	full := min(int(got/v.total*float64(cells)), cells)
	had := int(s.store() / max(got, 1) * float64(full))
	origin := int(math.Ceil(s.origin / max(got, 1) * float64(full-had)))
	bar := "\x1b[32m" + strings.Repeat("█", full-origin-had) + "\x1b[33m" + strings.Repeat("▓", origin) +
		"\x1b[36m" + strings.Repeat("▒", had) + "\x1b[0m" + strings.Repeat("·", cells-full)
	state := " "
	switch {
	case s.err != nil:
		state = "✗"
	case s.ended:
		state = "✓"
	}
	return fmt.Sprintf("%-5s %s %s %3.0f %%  peers %3.0f %%  origin %3.0f %%  %5.1f s", s.name, bar, state,
		percent(min(got, v.total), v.total), percent(s.peers, got), percent(s.origin, got), s.took.Seconds())
}

// line is all nodes in one, for logs.
func (v *view) line(states []state, elapsed time.Duration) {
	var got, peers, origin float64
	ended := 0
	for _, s := range states {
		got += min(s.peers+s.origin+s.store(), v.total)
		peers, origin = peers+s.peers, origin+s.origin
		if s.ended {
			ended++
		}
	}
	fmt.Fprintf(v.out, "%5.1f s  %3.0f %% of all bytes, %3.0f %% from peers, %3.0f %% from the origin, %d of %d nodes done\n",
		elapsed.Seconds(), percent(got, v.total*float64(len(states))), percent(peers, peers+origin), percent(origin, peers+origin), ended, len(states))
}

func percent(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * part / whole
}
