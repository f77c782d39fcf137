package daemon

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/cri/critest"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What is to be unpacked is pulled over CRI, with the login that came with the job,
// and what the runtime has then is told.
func TestUnpacking(t *testing.T) {
	t.Parallel()
	const image = "r.test/app:v1"
	d := piece.Sum([]byte("image"))
	r := &critest.Runtime{Has: true, Digests: []string{"r.test/app@sha512:00", "r.test/app@" + d.String()}}
	got, err := unpacking{r.Serve(t)}.Pull(t.Context(), image, secret.New("dTpw"))
	if err != nil || !slices.Equal(got, []piece.Digest{d}) {
		t.Errorf("%v, %v", got, err)
	}
	if did := r.Did(); !slices.Equal(did, []string{"pull " + image}) || r.Auth().GetAuth() != "dTpw" {
		t.Errorf("asked for %q with %v", did, r.Auth())
	}
	without := &critest.Runtime{}
	if got, err := (unpacking{without.Serve(t)}).Pull(t.Context(), image, secret.Value{}); err != nil || len(got) != 0 || without.Auth() != nil {
		t.Errorf("of an image that is gone at once: %v, %v, with %v", got, err, without.Auth())
	}
	broken := &critest.Runtime{PullErr: errors.New("not found")}
	if _, err := (unpacking{broken.Serve(t)}).Pull(t.Context(), image, secret.Value{}); err == nil || !strings.Contains(err.Error(), "the runtime says: not found") {
		t.Errorf("a pull that fails: %v", err)
	}
	if _, err := (unpacking{filepath.Join(t.TempDir(), "none")}).Pull(t.Context(), image, secret.Value{}); err == nil {
		t.Error("a socket that is not there pulls")
	}
}
