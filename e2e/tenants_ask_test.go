package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/e2e/lab"
)

// told is what a client sees of an answer.
type told struct {
	Status    int
	Challenge string
	Body      string
}

// ask asks node i's mirror; authorization "" is none. What is given is not kept
// but hashed.
func (x *tenants) ask(ctx context.Context, t *testing.T, i int, method, host, path, authorization string) told {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, x.MirrorURL(i)+"/v2/"+path+"?ns="+host, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := x.Net.Nodes[i].HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	got := told{resp.StatusCode, resp.Header.Get("WWW-Authenticate"), string(body)}
	if resp.StatusCode == http.StatusOK {
		sum := sha256.Sum256(body)
		got.Body = "sha256:" + hex.EncodeToString(sum[:])
	}
	return got
}

// target is an image, whose it is, and who else might want it.
type target struct {
	host  string
	image lab.Image
	// valid are Authorizations that have the right, by what they are called;
	// others are those that have not.
	valid, others map[string]string
	// elsewhere are repositories that do not have its content.
	elsewhere []string
}

// at is the same target at another registry.
func at(host string, o target) target {
	o.host = host
	return o
}

// everything is all that there is to ask for of an image.
func everything(i lab.Image) []string {
	return append([]string{i.Repository + "/manifests/" + i.Tag}, byDigest(i, i.Repository)...)
}

// byDigest names an image's content in a repository that may be another's.
func byDigest(i lab.Image, repository string) []string {
	all := []string{repository + "/manifests/" + i.Digest}
	for _, b := range i.Blobs {
		all = append(all, repository+"/blobs/"+b.Digest)
	}
	return all
}

// refusals asks node i for everything with all that has no right to it, and
// for the same content in other repositories with all that there is. It fails
// the test if anything is given, and returns what is said.
func (x *tenants) refusals(ctx context.Context, t *testing.T, i int, o target) map[string]told {
	t.Helper()
	said := make(map[string]told)
	try := func(who, authorization string, paths []string) {
		for _, path := range paths {
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				got := x.ask(ctx, t, i, method, o.host, path, authorization)
				if got.Status < 400 {
					t.Errorf("%s: with %s credential, %s %s/%s: status %d", x.nodes[i].Name, who, method, o.host, path, got.Status)
				}
				said[who+": "+method+" "+path] = got
			}
		}
	}
	for who, authorization := range o.others {
		try(who, authorization, everything(o.image))
	}
	for _, repository := range o.elsewhere {
		for who, authorization := range o.others {
			try(who, authorization, byDigest(o.image, repository))
		}
		for who, authorization := range o.valid {
			try(who, authorization, byDigest(o.image, repository))
		}
	}
	return said
}

// pulls asks node i for everything with each credential that has the right,
// from one tag on or only by digest, and fails the test if anything is not
// given.
func (x *tenants) pulls(ctx context.Context, t *testing.T, i int, o target, paths ...string) {
	t.Helper()
	if len(paths) == 0 {
		paths = everything(o.image)
	}
	for who, authorization := range o.valid {
		for _, path := range paths {
			want := path[strings.LastIndexByte(path, '/')+1:]
			if want == o.image.Tag {
				want = o.image.Digest
			}
			if got := x.ask(ctx, t, i, http.MethodGet, o.host, path, authorization); got.Status != http.StatusOK || got.Body != want {
				t.Errorf("%s: with %s credential, GET %s/%s: %+v", x.nodes[i].Name, who, o.host, path, got)
			}
		}
	}
}

// same fails the test if those without a right can tell from two answers where
// the content is.
func same(t *testing.T, where string, cold, now map[string]told) {
	t.Helper()
	if diff := cmp.Diff(cold, now); diff != "" {
		t.Errorf("who may not have it can tell that it is %s (-cold +now):\n%s", where, diff)
	}
}

// reads is what a registry gave since a mark: bytes of blobs, and manifests.
func reads(ctx context.Context, t *testing.T, r *lab.SecureRegistry, f func()) lab.Tally {
	t.Helper()
	begin, err := r.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f()
	tally, err := r.Since(ctx, begin)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

// givesNothing fails the test if a registry gives any blob while f runs. (Why
// it refuses a manifest, p2pd asks by GET.)
func (x *tenants) givesNothing(ctx context.Context, t *testing.T, r *lab.SecureRegistry, f func()) {
	t.Helper()
	if tally := reads(ctx, t, r, f); tally.BlobBytes > 0 {
		t.Errorf("%s gave %d bytes of blobs, want none", r.Name, tally.BlobBytes)
	}
}

// await polls a node's metrics until one is as it should be.
func (x *tenants) await(ctx context.Context, t *testing.T, i int, metric string, want float64) {
	t.Helper()
	d := x.nodes[i]
	err := d.WaitReady(ctx, func(ctx context.Context) error {
		m, err := d.Metrics(ctx)
		if err != nil {
			return err
		}
		v, err := m.Of(metric)
		if err == nil && v != want {
			err = fmt.Errorf("%s is %.0f, not %.0f", metric, v, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stored is how many bytes of blobs a node has in its own store.
func (x *tenants) stored(ctx context.Context, t *testing.T, i int) float64 {
	t.Helper()
	m, err := x.nodes[i].Metrics(ctx)
	whole, werr := m.Of(storeWhole)
	if err := errors.Join(err, werr); err != nil {
		t.Fatal(err)
	}
	return whole
}
