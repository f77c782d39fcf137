package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reserveAhead is how much is given back before anybody asks: more than
	// the nodes of a lab can write between two looks.
	reserveAhead = 64 << 20
	reserveStep  = 8 << 20
	reserveLook  = 20 * time.Millisecond
)

// Reserve is memory that the machine really has. A virtual machine's host may
// take free pages back, and giving one again costs a microsecond for each KiB:
// eight times what writing to it costs. With many nodes on one machine that
// would be a quarter of all CPU time, and no p2pd's doing. So a benchmark
// touches what its nodes will write first, and lets go of it while they do:
// the kernel takes the pages that were freed last.
type Reserve struct {
	mem  []byte
	base int64 // memory in use before any was given back
}

// NewReserve touches size bytes. Where there is not twice as much to be had it
// touches none.
func NewReserve(size Size) (*Reserve, error) {
	r := &Reserve{}
	m, err := memory()
	if err != nil || size <= 0 || m["MemAvailable"] < 2*int64(size) {
		return r, err
	}
	r.mem, err = unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("reserve %v of memory: %w", size, err)
	}
	r.base, err = inUse()
	return r, err
}

// Yield gives the memory back in step with what the machine takes, until ctx
// ends; then all of it.
func (r *Reserve) Yield(ctx context.Context) error {
	tick := time.NewTicker(reserveLook)
	defer tick.Stop()
	var given int64
	for ctx.Err() == nil && given < int64(len(r.mem)) {
		used, err := inUse()
		if err != nil {
			return err
		}
		for taken := used + given - r.base; given < min(taken+reserveAhead, int64(len(r.mem))); {
			end := min(given+reserveStep, int64(len(r.mem)))
			if err := unix.Madvise(r.mem[given:end], unix.MADV_DONTNEED); err != nil {
				return fmt.Errorf("give memory back: %w", err)
			}
			given = end
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if r.mem == nil {
		return nil
	}
	return unix.Munmap(r.mem)
}

// inUse is what programs and files take.
func inUse() (int64, error) {
	m, err := memory()
	return m["Cached"] + m["Buffers"] + m["AnonPages"], err
}

// memory reads /proc/meminfo, in bytes.
func memory() (map[string]int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := make(map[string]int64)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err == nil {
			found[name] = kib << 10
		}
	}
	return found, lines.Err()
}
