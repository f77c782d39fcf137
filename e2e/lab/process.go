package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a process may take to end by itself.
	stopGrace = 10 * time.Second
	// readyTimeout is how long a daemon may take until it serves. They need
	// well under a second; a machine that builds at the same time needs more.
	readyTimeout = 30 * time.Second
	readyPoll    = 20 * time.Millisecond
)

// Spec is a program to run.
type Spec struct {
	Name string   // unique in its lab; names the log file
	Args []string // program first
	Env  []string // beside our own
	// Stdout is a file of its own for standard output; empty: the log.
	Stdout string
}

// Process is a running program. It is in a process group of its own, and dies
// with us if we die first.
type Process struct {
	Name string
	Log  string // path of its log

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and err is set
	err  error
}

// Start runs a program at a place until Stop, Kill or the lab's end.
func (l *Lab) Start(p Place, s Spec) (*Process, error) {
	log, err := openLog(filepath.Join(l.Dir, s.Name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The process outlives the context of whoever starts it: it ends in order,
	// by Stop.
	cmd := p.Command(context.Background(), s.Args[0], s.Args[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.Stdout != "" {
		out, err := openLog(s.Stdout)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	proc := &Process{Name: s.Name, Log: log.Name(), cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process
		proc.err = cmd.Wait()
		close(proc.done)
	}()
	l.OnClose(func(context.Context) error { return proc.Stop() })
	return proc, nil
}

// openLog appends, so that a restarted daemon keeps its first life's log.
func openLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the process to end, and kills it if it doesn't. Stopping one that
// has ended is no error.
func (p *Process) Stop() error {
	if p.Ended() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
		return nil
	case <-time.After(stopGrace):
	}
	p.Kill()
	return fmt.Errorf("%s did not end within %v of SIGTERM and was killed; its log ends:\n%s", p.Name, stopGrace, p.LogTail())
}

// Kill is kill -9. It returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// WaitReady polls ready until it succeeds. It fails early if the process ends.
func (p *Process) WaitReady(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%w) before it was ready; its log ends:\n%s", p.Name, orClean(p.err), p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log ends:\n%s", p.Name, last, p.LogTail())
		case <-time.After(readyPoll):
		}
	}
}

func orClean(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// LogTail is the end of the log.
func (p *Process) LogTail() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return tail(string(b), 2000)
}
