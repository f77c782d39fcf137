package lab

import (
	"context"
	"testing"
)

func TestReserveIsGivenBack(t *testing.T) {
	r, err := NewReserve(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Yield(ctx); err != nil {
		t.Error(err)
	}
	if huge, err := NewReserve(1 << 50); err != nil || huge.mem != nil {
		t.Errorf("a reserve of 1 PiB: %d bytes, %v", len(huge.mem), err)
	}
}
