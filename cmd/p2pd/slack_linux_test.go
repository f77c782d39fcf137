package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asProgram makes the test's own program relax, and tell what it has then.
const asProgram = "P2PD_TEST_RELAX"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	relax()
	runtime.LockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	fmt.Println(os.Getpid(), slack, err, os.Args[1:])
}

// The program starts itself once more with the wider slack, as the same process
// with the same arguments; a slack that somebody else chose stays.
func TestRelax(t *testing.T) {
	for name, one := range map[string]struct{ before, after uintptr }{
		"kernel's default": {50_000, timerSlack},
		"systemd's":        {2_000_000, 2_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread() // of which the child inherits it
			defer runtime.UnlockOSThread()
			if err := unix.Prctl(unix.PR_SET_TIMERSLACK, one.before, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "--config", "a file")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			var out strings.Builder
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%d %d <nil> [--config a file]\n", cmd.Process.Pid, one.after)
			if out.String() != want {
				t.Errorf("got %q, want %q", out.String(), want)
			}
		})
	}
}
