package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has taken so far.
type Usage struct {
	CPU     time.Duration // user and system
	RSS     Size          // resident now
	PeakRSS Size          // the most it ever was: the kernel's own high-water mark
}

// clockTick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// Usage reads /proc; it fails once the process has ended.
func (p *Process) Usage() (Usage, error) {
	dir := fmt.Sprintf("/proc/%d/", p.PID())
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", p.Name, err)
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", p.Name, err)
	}
	u, err := parseUsage(string(stat), string(status))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", p.Name, err)
	}
	return u, nil
}

func parseUsage(stat, status string) (u Usage, err error) {
	// The second field is the command in brackets, which may hold anything.
	_, rest, ok := strings.Cut(stat[max(strings.LastIndexByte(stat, ')'), 0):], " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return u, fmt.Errorf("unexpected /proc stat %q", stat)
	}
	for _, field := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, fmt.Errorf("unexpected /proc stat %q", stat)
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		number, isKB := strings.CutSuffix(strings.TrimSpace(value), " kB")
		kb, err := strconv.ParseInt(number, 10, 64)
		if !isKB || err != nil {
			continue
		}
		switch key {
		case "VmRSS":
			u.RSS = Size(kb << 10)
		case "VmHWM":
			u.PeakRSS = Size(kb << 10)
		}
	}
	return u, nil
}
