package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// formats are what --output takes.
var formats = []string{"table", "wide", "json", "yaml", "name"}

// check checks the flags that all commands share.
func (c *cli) check() error {
	if !slices.Contains(formats, c.output) {
		return usage("--output %s: there are %s", c.output, strings.Join(formats, ", "))
	}
	if c.timeout <= 0 || c.watch && c.interval <= 0 {
		return usage("--timeout and --interval must be longer than nothing")
	}
	return nil
}

// shown is an answer and how it looks.
type shown struct {
	value any // for json and yaml
	// names are for -o name, one a line.
	names []string
	// tables are for the rest; a title stands above each one that has it.
	tables []table
}

// table is rows below columns. Cells that a column is not wide enough for make it
// wider.
type table struct {
	title   string
	columns []column
	rows    [][]string
	none    string // what is said instead of a table without rows
	bare    bool   // without headings
}

// column is a heading. Wide ones are shown with -o wide only.
type column struct {
	name        string
	wide, right bool
}

func left(name string) column  { return column{name: name} }
func right(name string) column { return column{name: name, right: true} }
func wide(name string) column  { return column{name: name, wide: true} }

// print writes an answer as was asked for.
func (c *cli) print(w io.Writer, s shown) error {
	switch c.output {
	case "json":
		b, err := json.MarshalIndent(s.value, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", b)
	case "yaml":
		b, err := yaml.Marshal(s.value)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s", b)
	case "name":
		for _, n := range s.names {
			fmt.Fprintln(w, n)
		}
	default:
		for i, t := range s.tables {
			if i > 0 {
				fmt.Fprintln(w)
			}
			t.write(w, c.output == "wide", !c.noHeaders)
		}
	}
	return nil
}

func (t *table) write(w io.Writer, all, headings bool) {
	if t.title != "" {
		fmt.Fprintln(w, t.title)
	}
	if len(t.rows) == 0 && t.none != "" {
		fmt.Fprintln(w, t.none)
		return
	}
	var lines [][]string
	if headings && !t.bare {
		var names []string
		for _, col := range t.columns {
			names = append(names, col.name)
		}
		lines = append(lines, names)
	}
	lines = append(lines, t.rows...)
	widths := make([]int, len(t.columns))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], cellWidth(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			col := t.columns[i]
			if col.wide && !all {
				continue
			}
			pad := strings.Repeat(" ", widths[i]-cellWidth(cell))
			if b.Len() > 0 {
				b.WriteString("  ")
			}
			if col.right {
				cell, pad = pad, cell
			}
			b.WriteString(cell + pad)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// cellWidth is how many columns of a terminal a cell takes, colours aside.
func cellWidth(s string) int {
	n := 0
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

// watching adds --watch and --interval to a command.
func (c *cli) watching(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&c.watch, "watch", "w", false, "repeat until interrupted")
	cmd.Flags().DurationVar(&c.interval, "interval", 2*time.Second, "interval, with --watch")
	return cmd
}

// show asks and prints, once or with --watch until the operator ends it.
func (c *cli) show(cmd *cobra.Command, ask func(ctx context.Context) (shown, error)) error {
	w := cmd.OutOrStdout()
	for first := true; ; first = false {
		s, err := ask(cmd.Context())
		if err != nil {
			return err
		}
		switch {
		case c.watch && isTerminal(w):
			fmt.Fprint(w, "\x1b[H\x1b[2J")
		case !first && (c.output == "table" || c.output == "wide"):
			fmt.Fprintln(w)
		}
		if err := c.print(w, s); err != nil || !c.watch {
			return err
		}
		if err := pause(cmd.Context(), c.interval); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// palette colours words, or leaves them as they are.
type palette bool

// colours is what w can show and the operator wants (no-color.org).
func colours(w io.Writer) palette {
	return palette(isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (p palette) paint(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) good(s string) string  { return p.paint("32", s) }
func (p palette) warn(s string) string  { return p.paint("33", s) }
func (p palette) bad(s string) string   { return p.paint("31", s) }
func (p palette) faint(s string) string { return p.paint("2", s) }
