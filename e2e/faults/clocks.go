package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/p2pd/p2pd/e2e/lab"
)

// makeClocks gives each node and each scheduler a wall clock.
func (s *stage) makeClocks() error {
	for i := range s.nodes {
		c, err := s.NewClock(fmt.Sprint("node", i))
		if err != nil {
			return err
		}
		s.nodeClocks = append(s.nodeClocks, c)
	}
	for i := range s.schedulers {
		c, err := s.NewClock(fmt.Sprint("scheduler", i))
		if err != nil {
			return err
		}
		s.schedulerClocks = append(s.schedulerClocks, c)
	}
	return nil
}

// stepClock sets a clock forward or back, and right again.
func stepClock(c lab.Clock, step Step) (ending, error) {
	off := steps[step.Seed%uint64(len(steps))]
	if step.Seed>>32&1 == 0 {
		off = -off
	}
	return func(context.Context) error { return c.Set(0) }, c.Set(off)
}

// brokenDisk is the file that says that a node's disk fails.
func (s *stage) brokenDisk(i int) string {
	return filepath.Join(s.Dir, s.Net.Nodes[i].Name+".eio")
}

// breakDisk has a node's store hear EIO from its disk.
func (s *stage) breakDisk(i int) (ending, error) {
	return s.flag(s.brokenDisk(i))
}

// misreads is the file that says that a node reads falsely.
func (s *stage) misreads(i int) string {
	return filepath.Join(s.Dir, s.Net.Nodes[i].Name+".misread")
}

// flag makes a file that a process looks for, for as long as a fault lasts.
func (s *stage) flag(file string) (ending, error) {
	end := func(context.Context) error { return os.Remove(file) }
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return end, f.Close()
}
