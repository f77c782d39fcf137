package daemon_test

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

type entry func(ctx context.Context, args []string, stdout, stderr io.Writer) int

// call runs a program that is told to end before it begins.
func call(t *testing.T, main entry, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code = main(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// onLoopback are a p2pd's flags so that it disturbs nobody.
func onLoopback(t *testing.T) []string {
	t.Helper()
	return []string{
		"--mirror-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0",
		"--peer-bulk-listen=127.0.0.1:0", "--store-path=" + t.TempDir(),
	}
}

func TestExitCodes(t *testing.T) {
	onLoopback := onLoopback(t)
	key := filepath.Join(t.TempDir(), "cluster.key")
	for _, tt := range []struct {
		name   string
		main   entry
		args   []string
		code   int
		stderr string
	}{
		{"ended by a signal", daemon.NodeMain, onLoopback, 0, "msg=stopped"},
		{"scheduler ended by a signal", daemon.HubMain, []string{"--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--admin-listen=", "--membership-key-file=" + key}, 0, "msg=scheduling"},
		{"could not run", daemon.NodeMain, append(onLoopback[:4:4], "--store-path=/dev/null/x"), 1, "p2pd: store.path: "},
		{"unknown flag", daemon.NodeMain, []string{"--bogus"}, 2, "p2pd: unknown flag: --bogus"},
		{"unknown command", daemon.HubMain, []string{"bogus"}, 2, `scheduler: unknown command "bogus"`},
		{"malformed value", daemon.NodeMain, []string{"--store-capacity=lots"}, 2, `"lots"`},
		{"bad configuration", daemon.NodeMain, []string{"--log-level=loud"}, 2, "p2pd: log.level: "},
		{"good configuration", daemon.NodeMain, []string{"check-config"}, 0, ""},
		{"bad configuration, checked", daemon.NodeMain, []string{"check-config", "--log-level=loud"}, 2, "p2pd: log.level: "},
		{"no such file", daemon.HubMain, []string{"check-config", "--config=/does/not/exist"}, 2, "/does/not/exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := call(t, tt.main, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d, stderr:\n%s", code, tt.code, stderr)
			}
		})
	}
}

// --help is enough: the variables, the exit codes, examples.
func TestHelp(t *testing.T) {
	for _, tt := range []struct {
		main entry
		want []string
	}{
		{daemon.NodeMain, []string{"[P2PD_MIRROR_LISTEN]", "[P2PD_CONFIG]", "Exit codes:", "Examples:", "check-config", `(default "127.0.0.1:7300")`}},
		{daemon.HubMain, []string{"[P2PSCHED_LISTEN]", "[P2PSCHED_CONFIG]", "Exit codes:", "Examples:", "check-config"}},
	} {
		code, stdout, _ := call(t, tt.main, "--help")
		for _, want := range tt.want {
			if code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("--help (%d) does not have %q", code, want)
			}
		}
	}
}

func TestConfigFromTheEnvironment(t *testing.T) {
	t.Setenv("P2PD_CONFIG", write(t, "log: {level: loud}"))
	if code, _, stderr := call(t, daemon.NodeMain, "check-config"); code != 2 || !strings.Contains(stderr, "loud") {
		t.Errorf("exit code %d, stderr: %s", code, stderr)
	}
	t.Setenv("P2PD_LOG_LEVEL", "warn")
	if code, stdout, stderr := call(t, daemon.NodeMain, "check-config"); code != 0 || !strings.Contains(stdout, "good") {
		t.Errorf("exit code %d, stderr: %s", code, stderr)
	}
}
