package scheduler_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// owners is who owns each of many blobs.
func owners(names []string) []string {
	const blobs = 3000
	all := make([]string, blobs)
	for i := range all {
		all[i] = scheduler.Owner(names, piece.Sum(binary.BigEndian.AppendUint32(nil, uint32(i))))
	}
	return all
}

func TestOwnersShareTheBlobs(t *testing.T) {
	names := []string{"a:7310", "b:7310", "c:7310"}
	all := owners(names)
	share := make(map[string]int)
	for _, o := range all {
		share[o]++
	}
	for _, n := range names {
		// Of 3000, each has 1000 give or take six times 26, the standard
		// deviation.
		if share[n] < 845 || share[n] > 1155 {
			t.Errorf("%s owns %d of %d", n, share[n], len(all))
		}
	}
	slices.Reverse(names)
	if !slices.Equal(owners(names), all) {
		t.Error("the order of the names counts")
	}
}

// Who goes takes its own swarms along and moves no others; who comes back gets
// the very same.
func TestOneThatGoesMovesItsOwnSwarms(t *testing.T) {
	before := owners([]string{"a:7310", "b:7310", "c:7310"})
	for i, o := range owners([]string{"a:7310", "c:7310"}) {
		if before[i] != "b:7310" && o != before[i] {
			t.Fatalf("blob %d moved from %s to %s, though b went", i, before[i], o)
		}
	}
	if o := scheduler.Owner(nil, piece.Sum(nil)); o != "" {
		t.Errorf("without schedulers %q owns", o)
	}
	if o := scheduler.Owner([]string{"a:7310"}, piece.Sum(nil)); o != "a:7310" {
		t.Errorf("%q owns, with one scheduler", o)
	}
}
