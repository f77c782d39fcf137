package scheduler

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestVouches(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	v := NewVouches()
	v.half = 4
	key := func(i int) (k VouchKey) { binary.BigEndian.PutUint32(k[:], uint32(i)); return k }
	check := func(k VouchKey, at time.Time, want bool) {
		t.Helper()
		if got, ok := v.Recall(k, now); ok != want || want && !got.Equal(at) {
			t.Errorf("%x: %v, %v; want %v, %v", k[:4], got, ok, at, want)
		}
	}
	check(key(1), time.Time{}, false)
	v.Vouch(key(1), now)
	v.Vouch(key(1), now.Add(-time.Hour)) // an older word changes nothing
	check(key(1), now, true)
	v.Vouch(key(2), now.Add(-VouchFor))
	check(key(2), time.Time{}, false)
	for i := range 100 { // what is asked for stays, what is not goes
		v.Vouch(key(100+i), now)
		check(key(1), now, true)
		if v.Len() > 2*v.half {
			t.Fatalf("%d are remembered", v.Len())
		}
	}
	check(key(100), time.Time{}, false)
	check(key(199), now, true)
	now = now.Add(VouchFor)
	check(key(1), time.Time{}, false)
}
