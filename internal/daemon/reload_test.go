package daemon_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

var servesHTTPAt = regexp.MustCompile(`msg=serving .*http=(\S+)`)

// SIGHUP takes limits and log level from the file; a file that is no good changes
// nothing, and what was on the command line stays.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p2pd.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("limits: {upload: 1MB}\n")
	ctx, stop := context.WithCancel(t.Context())
	var log record
	ended := make(chan int, 1)
	go func() {
		ended <- daemon.NodeMain(ctx, append(onLoopback(t), "--config", file, "--limits-download=7MB"), io.Discard, &log)
	}()
	defer func() { stop(); <-ended }()

	var admin string
	until(t, "it serves", func() bool {
		if m := servesHTTPAt.FindStringSubmatch(log.String()); m != nil {
			admin = "http://" + m[1]
		}
		return admin != ""
	})
	has := func(metric string, value any) {
		t.Helper()
		until(t, fmt.Sprint(metric, " is ", value), func() bool {
			_, page := get(t, admin+"/metrics")
			return strings.Contains(page, fmt.Sprint(metric, " ", value, "\n"))
		})
	}
	has(`p2pd_limit_bytes_per_second{of="upload"}`, "1e+06")
	for _, step := range []struct {
		file, metric string
		value        any
	}{
		{"limits: {upload: 2MB, download: 9MB}\nlog: {level: debug}\n", `p2pd_limit_bytes_per_second{of="upload"}`, "2e+06"},
		{"limits: {upload: lots}\n", `p2pd_config_reloads_total{outcome="refused"}`, 1},
		{"limits: {crossZoneDownload: 3MB}\nmirror: {drain: 1s}\n", `p2pd_limit_bytes_per_second{of="cross_zone_download"}`, "3e+06"},
	} {
		write(step.file)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		has(step.metric, step.value)
		has(`p2pd_limit_bytes_per_second{of="download"}`, "7e+06")
	}
	until(t, "it says what needs a restart", func() bool { return strings.Contains(log.String(), "must be restarted") })
	for _, want := range []string{"lots", "level=debug"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log.String())
		}
	}
}
