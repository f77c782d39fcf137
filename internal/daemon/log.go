package daemon

import (
	"fmt"
	"io"
	"log/slog"
)

func (c LogConfig) validate() error {
	_, err := c.level()
	if err != nil {
		return err
	}
	if c.Format != "text" && c.Format != "json" {
		return fmt.Errorf("log.format %q must be text or json", c.Format)
	}
	return nil
}

func (c LogConfig) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return l, fmt.Errorf("log.level %q must be debug, info, warn or error", c.Level)
	}
	return l, nil
}

// Logger makes the logger that the configuration asks for.
func (c LogConfig) Logger(w io.Writer) *slog.Logger {
	level, _ := c.level() // validated
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
