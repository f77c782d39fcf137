package throttle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/throttle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNoLimitIsNoReader(t *testing.T) {
	r := bytes.NewReader(nil)
	if throttle.Reader(t.Context(), r) != io.Reader(r) || throttle.Reader(t.Context(), r, nil, nil) != io.Reader(r) {
		t.Error("a reader without limits is wrapped")
	}
	if throttle.New(-1).Rate() != 0 || (*throttle.Limit)(nil).Rate() != 0 || throttle.Limited(nil, throttle.New(0)) {
		t.Error("no limit has a rate")
	}
	// Whoever has no limit now may get one, and is not held back until then.
	free := throttle.Reader(t.Context(), bytes.NewReader(make([]byte, 3*throttle.Burst)), throttle.New(0))
	if n, err := free.Read(make([]byte, 3*throttle.Burst)); n != 3*throttle.Burst || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A limit that changes holds for whoever waits just now as well.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(1) // a burst would take a day
		go func() {
			time.Sleep(time.Second)
			l.Set(throttle.Burst)
			time.Sleep(2 * time.Second)
			l.Set(0)
		}()
		begin := time.Now()
		n, err := io.Copy(io.Discard, throttle.Reader(t.Context(), bytes.NewReader(make([]byte, 99*throttle.Burst)), l))
		if n != 99*throttle.Burst || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		about(t, time.Since(begin), 3*time.Second)
	})
}

func TestTheTighterLimitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wide, tight := throttle.New(100*throttle.Burst), throttle.New(throttle.Burst)
		begin := time.Now()
		if _, err := io.Copy(io.Discard, throttle.Reader(t.Context(), bytes.NewReader(make([]byte, 3*throttle.Burst)), wide, tight)); err != nil {
			t.Error(err)
		}
		about(t, time.Since(begin), 2*time.Second)
	})
}

// A stream of n bytes takes as long as the rate says, less the burst that the
// limiter had saved up. Time is virtual, so that is exact.
func TestRate(t *testing.T) {
	const rate = 4 * throttle.Burst
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("0123456789abcdef"), 9*throttle.Burst/16)
		r := throttle.Reader(t.Context(), bytes.NewReader(content), throttle.New(rate))
		begin := time.Now()
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
		}
		about(t, time.Since(begin), 2*time.Second) // 8 bursts, 4 a second
	})
}

func TestStreamsShareTheRate(t *testing.T) {
	const rate = throttle.Burst
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(rate)
		begin := time.Now()
		var streams sync.WaitGroup
		for range 5 {
			streams.Go(func() {
				r := throttle.Reader(t.Context(), bytes.NewReader(make([]byte, throttle.Burst)), l)
				if _, err := io.Copy(io.Discard, r); err != nil {
					t.Error(err)
				}
			})
		}
		streams.Wait()
		about(t, time.Since(begin), 4*time.Second) // 5 bursts, one saved up
	})
}

// about allows for what the limiter rounds.
func about(t *testing.T, got, want time.Duration) {
	t.Helper()
	if diff := (got - want).Abs(); diff > time.Millisecond {
		t.Errorf("took %v, want %v", got, want)
	}
}

func TestOneReadTakesNoMoreThanABurst(t *testing.T) {
	r := throttle.Reader(t.Context(), bytes.NewReader(make([]byte, 3*throttle.Burst)), throttle.New(1<<40))
	if n, err := r.Read(make([]byte, 3*throttle.Burst)); n != throttle.Burst || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := throttle.Reader(ctx, bytes.NewReader(make([]byte, 100*throttle.Burst)), throttle.New(1))
		begin := time.Now()
		n, err := io.Copy(io.Discard, r)
		if err == nil || n > 2*throttle.Burst || time.Since(begin) > time.Second {
			t.Errorf("%d bytes in %v, %v", n, time.Since(begin), err)
		}
	})
}

func TestErrorsPass(t *testing.T) {
	broken := errors.New("broken")
	inner := io.MultiReader(bytes.NewReader([]byte("abc")), iotest.ErrReader(broken))
	got, err := io.ReadAll(throttle.Reader(t.Context(), inner, throttle.New(1<<30)))
	if string(got) != "abc" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
	// The last bytes and the end may come together, and do in bodies of
	// net/http: the end must not be held back for another Read.
	last := throttle.Reader(t.Context(), iotest.DataErrReader(bytes.NewReader([]byte("abc"))), throttle.New(1<<30))
	if n, err := last.Read(make([]byte, 10)); n != 3 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}
