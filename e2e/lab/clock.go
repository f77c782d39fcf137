package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A program's wall clock cannot be set apart from the machine's: time namespaces cover
// monotonic clocks only. So programs with faults are built with a package time that adds the
// seconds which stand in a file to what the wall clock says. The monotonic clock, and with
// it every time-out, is left alone, as by a real step.

// clockVariable names the file, of 8 bytes in the machine's order.
const clockVariable = "P2PD_FAULT_CLOCK"

const (
	nowHas   = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowGets  = nowHas + "\tsec += faultOffset()\n"
	clockAdd = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var faultClock = openFaultClock()

func openFaultClock() *int64 {
	name, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return nil
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("fault clock: " + err.Error())
	}
	memory, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("fault clock: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&memory[0]))
}

func faultOffset() int64 {
	if faultClock == nil {
		return 0
	}
	return atomic.LoadInt64(faultClock)
}
`
)

// clockOverlay is what go build -overlay wants for such a package time, until remove is
// called.
func clockOverlay(ctx context.Context) (file string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "p2pd-clock-*")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // it is in the folder for what may go
	if file, err = writeOverlay(ctx, dir); err != nil {
		remove()
	}
	return file, remove, err
}

func writeOverlay(ctx context.Context, dir string) (string, error) {
	root, err := run(ctx, "go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	std := filepath.Join(strings.TrimSpace(root), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", fmt.Errorf("wall clock for faults: %w", err)
	}
	if strings.Count(string(source), nowHas) != 1 {
		return "", errors.New("wall clock for faults: time.Now is not what it was in Go 1.26; e2e/lab/clock.go must be changed")
	}
	changed := strings.Replace(string(source), nowHas, nowGets, 1)
	replace := make(map[string]string)
	for name, text := range map[string]string{"time.go": changed, "fault_clock.go": clockAdd} {
		replace[filepath.Join(std, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}

// Clock is the wall clock of programs that are started with its Env.
type Clock struct{ file string }

// NewClock makes one, which shows what the machine's does.
func (l *Lab) NewClock(name string) (Clock, error) {
	c := Clock{filepath.Join(l.Dir, name+".clock")}
	return c, os.WriteFile(c.file, make([]byte, 8), 0o600)
}

// Env has a program use the clock.
func (c Clock) Env() string { return clockVariable + "=" + c.file }

// Set has it show the machine's time and some seconds more, or less.
func (c Clock) Set(off time.Duration) error {
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(off.Seconds()))), 0) //nolint:gosec // two's complement, as it is read
	return errors.Join(err, f.Close())
}
