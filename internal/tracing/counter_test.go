package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// counter is a log that only counts.
type counter struct{ n *atomic.Int64 }

func newCounter() *slog.Logger { return slog.New(counter{new(atomic.Int64)}) }

func counted(l *slog.Logger) int64 {
	c, ok := l.Handler().(counter)
	if !ok {
		return -1
	}
	return c.n.Load()
}

func (counter) Enabled(context.Context, slog.Level) bool    { return true }
func (c counter) Handle(context.Context, slog.Record) error { c.n.Add(1); return nil }
func (c counter) WithAttrs([]slog.Attr) slog.Handler        { return c }
func (c counter) WithGroup(string) slog.Handler             { return c }
