//go:build unix && !linux

package store

import (
	"errors"
	"os"
)

// preallocate gives f its length. Its blocks come later, so a full disk is
// met while pieces arrive.
func preallocate(f *os.File, size int64) error { return f.Truncate(size) }

// freeBytes cannot be asked here.
func freeBytes(*os.File) (int64, error) { return 0, errors.ErrUnsupported }

func startWriteback(*os.File, int64, int64) {}
