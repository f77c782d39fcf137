//go:build !p2pd_faults

package store

// failpoints are where tests kill the process; only builds with the tag
// p2pd_faults have any.
type failpoints struct{}

func newFailpoints() failpoints { return failpoints{} }

// at is reached at a point.
func (failpoints) at(string) {}

// disk is what the disk says instead of doing as it is told.
func (failpoints) disk() error { return nil }

// synced is told of a file that is on the disk from now on.
func (failpoints) synced(string) {}
