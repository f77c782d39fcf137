package daemon

import (
	"io"
	"log/slog"
)

// Logger makes the logger that the configuration asks for.
func (c LogConfig) Logger(w io.Writer) *slog.Logger {
	var opts slog.HandlerOptions
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err == nil { // else info
		opts.Level = level
	}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, &opts))
	}
	return slog.New(slog.NewTextHandler(w, &opts))
}
