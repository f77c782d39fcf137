package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ctl"
)

// toldBy is what a scheduler has been told of its nodes, which p2pctl and the live page
// show: asked for again and again until it is as wanted, for nodes tell it in their own
// time.
func toldBy[T any](ctx context.Context, t *testing.T, server string, is func(*T) bool, args ...string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	args = append([]string{"p2pctl", "--server", server, "-o", "json"}, args...)
	var found T
	for {
		var out, trouble bytes.Buffer
		if code := ctl.Main(ctx, args, &out, &trouble); code > 1 {
			t.Fatalf("%q ended with %d: %s", args, code, trouble.String())
		} else if code == 0 {
			found = *new(T)
			if err := json.Unmarshal(out.Bytes(), &found); err != nil {
				t.Fatal(err)
			}
			if is(&found) {
				return found
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%q said in vain: %s%s", args, out.String(), trouble.String())
		}
	}
}

// told holds what the scheduler was told of the first node against what happened
// there: a check that found nothing, and containerd's pull for it, blob by blob.
func (w *ward) told(t *testing.T) {
	t.Helper()
	runs := toldBy(w.ctx, t, w.admin(), func(l *api.CheckRunList) bool { return len(l.Items) == 1 }, "check", "ls")
	if run := runs.Items[0]; run.Node == "" || !run.Success || len(run.Findings) > 0 || run.Image != w.host+"/app:1" || run.StartMillis == 0 {
		t.Errorf("of a check that found nothing, and started a container, the scheduler knows %+v", run)
	}
	name := w.host + "/app:1"
	whole := func(p api.Pull) bool { return p.Outcome == "complete" && len(p.Blobs) >= 3 }
	image := toldBy(w.ctx, t, w.admin(), func(d *api.PulledImageDetail) bool { return slices.ContainsFunc(d.Latest, whole) }, "pull", "show", name)
	pull := image.Latest[slices.IndexFunc(image.Latest, whole)]
	if pull.Node != runs.Items[0].Node || pull.ManifestMillis > pull.Millis || !strings.HasPrefix(image.Digest, "sha256:") {
		t.Errorf("the pull is told of as %+v of %s", pull, image.Digest)
	}
	for _, b := range pull.Blobs {
		if b.DoneMillis == nil || b.FirstMillis == nil || *b.FirstMillis > *b.DoneMillis || b.AskedMillis > *b.FirstMillis || b.FromPeers+b.FromOrigin+b.FromCache != b.Size {
			t.Errorf("the waterfall has %+v", b)
		}
	}
	t.Logf("the scheduler was told of containerd's pull of %s: %d blobs in %d ms", image.Image, len(pull.Blobs), pull.Millis)
}
