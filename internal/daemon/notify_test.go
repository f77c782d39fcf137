package daemon

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// systemd, if it asks to be told, is told; and nobody else.
func TestStartedTellsSystemd(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	t.Setenv("NOTIFY_SOCKET", "")
	started(logger)

	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	started(logger)
	got := make([]byte, 64)
	n, err := l.Read(got)
	if err != nil || string(got[:n]) != "READY=1" {
		t.Errorf("systemd is told %q, %v", got[:n], err)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}

	t.Setenv("NOTIFY_SOCKET", path+"-nowhere")
	started(logger)
	if !strings.Contains(log.String(), "systemd was not told") {
		t.Errorf("logged %q of a socket that nobody listens at", &log)
	}
}
