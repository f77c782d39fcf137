//go:build !linux

package cri

import "time"

// Started cannot be seen here.
func Started(string) (at time.Time, known bool, err error) { return at, false, nil }
