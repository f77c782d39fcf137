package daemon_test

import (
	"net/http"
	"testing"

	"github.com/p2pd/p2pd/pkg/piece"
)

// With the origin down, a node that never asked it gives what is public, by
// digest and from the peer that has it; and of what is not, nothing.
func TestPublicImagesNeedNoOrigin(t *testing.T) {
	u := newTenants(t)
	mirrors, _ := u.cluster(t, 2)
	public, private := u.repos["pub/app"], u.repos["a/app"]
	token := u.mint("a/app")
	u.pull(t, mirrors[0], "pub/app", "")
	u.pull(t, mirrors[0], "a/app", token)
	u.set(func() { u.down = true })

	manifest := "pub/app/manifests/" + public.digest().String()
	until(t, "the first node has vouched", func() bool {
		return u.ask(t, mirrors[1], http.MethodHead, manifest, "").Status == http.StatusOK
	})
	for path, want := range map[string][]byte{
		manifest: public.manifest,
		"pub/app/blobs/" + piece.Sum(public.config).String(): public.config,
		"pub/app/blobs/" + piece.Sum(public.layer).String():  public.layer,
	} {
		if got := u.ask(t, mirrors[1], http.MethodGet, path, ""); got.Status != http.StatusOK || got.Body != string(want) {
			t.Errorf("%s: status %d, %d bytes", path, got.Status, len(got.Body))
		}
	}
	for _, path := range []string{
		"a/app/manifests/" + private.digest().String(),
		"a/app/blobs/" + piece.Sum(private.layer).String(),
		"pub/app/manifests/" + private.digest().String(),
		"pub/app/blobs/" + piece.Sum(private.layer).String(),
		"pub/app/manifests/1",
	} {
		for _, with := range []string{"", token} {
			if got := u.ask(t, mirrors[1], http.MethodGet, path, with); got.Status != http.StatusServiceUnavailable {
				t.Errorf("%s, token %q: status %d", path, with, got.Status)
			}
		}
	}
}
