package daemon

import (
	"io"
	"log/slog"
)

// Logger makes the logger that the configuration asks for. Its level is in
// level, and follows it.
func (c LogConfig) Logger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(c.level())
	opts := slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, &opts))
	}
	return slog.New(slog.NewTextHandler(w, &opts))
}

// level is what Level says; info if it says nothing that is known.
func (c LogConfig) level() slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo
	}
	return l
}
