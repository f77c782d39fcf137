package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/kubernetes"
)

// nodesDone is a DaemonSet whose nodes are done when the times of at have passed.
func nodesDone(at ...time.Duration) func(context.Context) (kubernetes.DaemonSet, error) {
	began := time.Now()
	return func(context.Context) (kubernetes.DaemonSet, error) {
		passed := time.Since(began)
		d := kubernetes.DaemonSet{Nodes: len(at), Counted: passed > 0}
		for _, when := range at {
			if passed >= when {
				d.Ready++
			}
		}
		return d, nil
	}
}

// Nodes that take long in turn are waited for; one that does not come is not.
func TestAwaitRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		began := time.Now()
		slow := nodesDone(time.Second, 50*time.Second, 100*time.Second, 150*time.Second)
		if err := awaitRestored(t.Context(), &out, slow); err != nil || time.Since(began) < 150*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if want := "restored on 1 of 4 nodes\nrestored on 2 of 4 nodes\nrestored on 3 of 4 nodes\nrestored on 4 of 4 nodes\n"; out.String() != want {
			t.Errorf("it said %q, want %q", out.String(), want)
		}
		err := awaitRestored(t.Context(), &out, nodesDone(time.Second, 10*time.Minute))
		if want := "restored on 1 of 2 nodes, and on no other for 1m0s"; fmt.Sprint(err) != want {
			t.Errorf("with a node that is down: %v, want %q", err, want)
		}
		// Zero of zero is no answer before somebody has counted; it is, afterwards.
		counts := 0
		if err := awaitRestored(t.Context(), &out, func(context.Context) (kubernetes.DaemonSet, error) {
			counts++
			return kubernetes.DaemonSet{Counted: counts > 2}, nil
		}); err != nil || counts != 3 {
			t.Errorf("%d questions: %v", counts, err)
		}
	})
}

func TestAwaitRestoredOfAServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("no route to host")
		began := time.Now()
		if err := awaitRestored(t.Context(), new(bytes.Buffer), func(context.Context) (kubernetes.DaemonSet, error) {
			if time.Since(began) < 30*time.Second {
				return kubernetes.DaemonSet{}, away
			}
			return kubernetes.DaemonSet{Nodes: 1, Ready: 1, Counted: true}, nil
		}); err != nil {
			t.Errorf("away for a while: %v", err)
		}
		if err := awaitRestored(t.Context(), new(bytes.Buffer), func(context.Context) (kubernetes.DaemonSet, error) {
			return kubernetes.DaemonSet{}, away
		}); !errors.Is(err, away) {
			t.Errorf("away for good: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := awaitRestored(ctx, new(bytes.Buffer), nodesDone(time.Hour)); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
	})
}

func TestAwaitRestoredOutsideOfAPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for want, args := range map[string][]string{
		"is not NAMESPACE/DAEMONSET": {"await-restored", "p2pd"},
		"this is no pod":             {"await-restored", "p2pd/p2pd-restore"},
	} {
		var stdout, stderr bytes.Buffer
		if code := NodeMain(t.Context(), args, &stdout, &stderr); code == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: %d, %s", args, code, stderr.String())
		}
	}
}
