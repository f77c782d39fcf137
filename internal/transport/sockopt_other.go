//go:build !linux

package transport

import (
	"errors"
	"syscall"
)

func setLowWater(syscall.RawConn, int) error { return errors.ErrUnsupported }

func setUnsentMost(syscall.RawConn, int) error { return errors.ErrUnsupported }
