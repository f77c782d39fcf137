package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	// contractPull ends a pull that hangs: containerd 2.4 gives a silent
	// request up after 30 s, nothing else waits nearly so long.
	contractPull = 60 * time.Second
	// contractSize is three layers of four pieces each, and in parallel mode
	// of eight ranges.
	contractSize   = lab.Size(12 << 20)
	contractLayers = 3
)

// What a node's users notice of p2pd when something fails: nothing. Each kind
// of containerd pulls through each fault: the image arrives whole if a direct
// pull would have, else the error is the origin's own. `make e2e-contract`
// prints the table; docs/containerd.md keeps it.
//
// The containerds pull side by side, each on a stage of its own: most of their
// time they wait.
func TestContract(t *testing.T) {
	ctx := gate(t)
	t.Parallel()
	modes, err := programs(t).PullModes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows := faults()
	report := newTable(modes, rows)
	t.Cleanup(func() { t.Logf("what was seen:\n%s", report) })
	for _, mode := range modes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			s := openStage(ctx, t, mode)
			// The better of two: the first pull of a daemon is not like others.
			direct := s.direct(ctx, t, lab.Fault{})
			if again := s.direct(ctx, t, lab.Fault{}); again.err == nil && again.took < direct.took {
				direct = again
			}
			if direct.err != nil {
				t.Fatalf("pull from a healthy origin: %v", direct.err)
			}
			if ranges := direct.seen.Direct.Resumed > 0; ranges != mode.Ranges {
				t.Fatalf("containerd read layers in ranges: %v, want %v", ranges, mode.Ranges)
			}
			for _, f := range rows {
				t.Run(f.name, func(t *testing.T) {
					cell := s.run(ctx, t, f, direct)
					report.set(mode, f, cell)
				})
			}
		})
	}
}

// outcome is what came of one pull.
type outcome struct {
	took time.Duration
	err  error
	seen lab.FaultTally
}

// cell is one field of the table.
type cell struct {
	direct, through outcome
	late            time.Duration // how much longer it took than it may
	limit           bool          // it is containerd that could not do better
	wrong           error         // how the contract was broken
}

// run is one case: one fault and the containerd of the stage.
func (s *stage) run(ctx context.Context, t *testing.T, f fault, healthy outcome) (c cell) {
	t.Helper()
	c.direct = healthy
	if f.origin != (lab.Fault{}) && !f.origin.OnlyP2PD {
		c.direct = s.direct(ctx, t, f.origin)
	}
	defer func() {
		if err := s.repair(ctx); err != nil {
			t.Fatalf("after the case: %v", err)
		}
	}()
	s.push(ctx, t)
	if err := s.cri.PullFrom(s.MirrorURL(0), s.Registry.Endpoint); err != nil {
		t.Fatal(err)
	}
	if f.prepare != nil {
		if err := f.prepare(ctx, s); err != nil {
			t.Fatalf("prepare: %v", err)
		}
	}
	s.proxy.Set(f.origin)
	midway := make(chan error, 1)
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if f.midway == nil {
			midway <- nil
			return
		}
		midway <- f.midway(during, s)
	}()
	c.through = s.pull(ctx)
	cancel()
	happened := <-midway
	if c.limit = s.cri.Mode.Ranges && f.dead && noOtherHost(c.through.err); c.limit {
		// What is left to see is that the next attempt does better.
		c.wrong = errors.Join(happened, s.pull(ctx).err)
	} else {
		c.wrong = errors.Join(happened, s.judge(ctx, f, c))
	}
	c.late = max(0, c.through.took-c.direct.took-f.allows-grace)
	say := t.Logf
	if c.wrong != nil {
		say = t.Errorf
	}
	if c.wrong != nil || c.late > 0 || c.limit {
		say("%v\nthe pull took %.1f s, %.1f s too long, and ended with: %v\nseen at the origin: %+v\nlog of %s:\n%s", c.wrong,
			c.through.took.Seconds(), c.late.Seconds(), c.through.err, c.through.seen, s.nodes[0].Name, s.nodes[0].LogTail())
	}
	return c
}

// noOtherHost reports whether a pull failed because a request for a range did:
// p2pd refused the connection or had it reset. containerd ends the blob's other
// requests with that one, and now and then it is one of those that it tells of.
func noOtherHost(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	if strings.HasSuffix(text, "failed to copy: context canceled") {
		return true
	}
	return strings.Contains(text, "failed to do request") &&
		(strings.Contains(text, "connection refused") || strings.Contains(text, "connection reset") || strings.HasSuffix(text, "EOF"))
}

// judge says how a case breaks the contract, if it does.
func (s *stage) judge(ctx context.Context, f fault, c cell) error {
	if err := c.through.err; err != nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("the pull hung for %v", contractPull)
		case c.direct.err == nil:
			return errors.New("the pull failed, a direct one does not")
		case !strings.Contains(err.Error(), f.says):
			return fmt.Errorf("the error is not the origin's own, which says %q", f.says)
		}
		return nil
	}
	if err := s.cri.Check(ctx, s.image); err != nil {
		return err
	}
	past := c.through.seen.Direct.Bytes
	switch {
	case f.way == through && past > 0:
		return fmt.Errorf("containerd read %d bytes past p2pd", past)
	case f.way == around && past == 0:
		return errors.New("nothing was read past p2pd: did the fault happen?")
	case f.origin != (lab.Fault{}) && c.through.seen.Met == 0:
		return errors.New("no request met the origin's fault")
	}
	if f.proof != nil {
		return f.proof(ctx, s, c)
	}
	return nil
}

// direct is a pull of a fresh image from the origin, without p2pd.
func (s *stage) direct(ctx context.Context, t *testing.T, fault lab.Fault) outcome {
	t.Helper()
	s.push(ctx, t)
	if err := s.cri.PullFrom(s.Registry.Endpoint, s.Registry.Endpoint); err != nil {
		t.Fatal(err)
	}
	s.proxy.Set(fault)
	defer s.proxy.Set(lab.Fault{})
	o := s.pull(ctx)
	if err := s.cri.Remove(ctx, s.image); err != nil {
		t.Fatal(err)
	}
	return o
}

// pull makes containerd pull the case's image.
func (s *stage) pull(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, contractPull)
	defer cancel()
	began := time.Now()
	err := s.cri.Pull(ctx, s.image)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return outcome{time.Since(began), err, s.proxy.Tally()}
}

// table is the outcome of every case that ran, as Markdown.
type table struct {
	modes []lab.PullMode
	rows  []fault

	mu    sync.Mutex
	cells map[string]cell
}

func newTable(modes []lab.PullMode, rows []fault) *table {
	return &table{modes: modes, rows: rows, cells: make(map[string]cell)}
}

func (t *table) set(m lab.PullMode, f fault, c cell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells[m.Name+"\n"+f.name] = c
}

// String shows, for each case, how long the pull took through p2pd and, after
// the slash, directly, and what share of the image containerd read past p2pd.
// Times are shown and not judged: they are the machine's too.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	b.WriteString("| fault | may cost |")
	for _, m := range t.modes {
		fmt.Fprintf(&b, " %s |", m.Name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(t.modes)) + "\n")
	for _, f := range t.rows {
		fmt.Fprintf(&b, "| %s | %.0f s |", f.name, (f.allows + grace).Seconds())
		for _, m := range t.modes {
			text := "not run"
			if c, ok := t.cells[m.Name+"\n"+f.name]; ok {
				text = c.String()
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (c cell) String() string {
	text := fmt.Sprintf("%s / %s", c.through, c.direct)
	if c.through.err == nil {
		text += fmt.Sprintf(", %d %% past", min(100, c.through.seen.Direct.Bytes*100/int64(contractSize)))
	}
	if c.late > 0 {
		text += fmt.Sprintf(", **%.1f s late**", c.late.Seconds())
	}
	if c.limit {
		text += ", containerd's limit"
	}
	if c.wrong != nil {
		reason, _, _ := strings.Cut(c.wrong.Error(), "\n")
		text += ", **FAIL**: " + reason
	}
	return text
}

func (o outcome) String() string {
	word := ""
	switch {
	case errors.Is(o.err, context.DeadlineExceeded):
		return "hangs"
	case o.err != nil:
		word = "fails "
	}
	return fmt.Sprintf("%s%.1f s", word, o.took.Seconds())
}
