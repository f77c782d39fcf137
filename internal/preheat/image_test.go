package preheat

import (
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// see looks an image up.
func see(t *testing.T, w *world, reference string, platforms, own []string) ([]Variant, error) {
	t.Helper()
	_, vs, err := lookUp(t.Context(), w, &Spec{Registry: host, Repository: "team/app", Reference: reference, Platforms: platforms}, secret.Value{}, own)
	return vs, err
}

// names are the platforms of variants, and how many blobs each has.
func names(vs []Variant) string {
	var all []string
	for _, v := range vs {
		all = append(all, v.Platform+":"+strings.Repeat("b", len(v.Blobs)))
	}
	return strings.Join(all, " ")
}

// An index leads to the manifests of the platforms that are wanted, and these to
// config and layers; attestations are no platform.
func TestLookUp(t *testing.T) {
	t.Parallel()
	w := newWorld()
	d := w.image(t, "v1")
	single := w.manifest(t, "a", "b", "c")
	nested := w.put(t, object{"manifests": []object{{"mediaType": ociIndex, "digest": d.String(), "size": 1}}})
	for _, tt := range []struct {
		reference      string
		platforms, own []string
		want           string
	}{
		{"v1", nil, []string{"linux/amd64"}, "linux/amd64:bbbbb"},
		{"v1", nil, []string{"linux/amd64", "linux/arm64", "linux/s390x"}, "linux/amd64:bbbbb linux/arm64/v8:bbbbb"},
		{"v1", []string{"linux/arm64"}, []string{"linux/amd64"}, "linux/arm64/v8:bbbbb"},
		{d.String(), []string{"linux/arm64/v8"}, nil, "linux/arm64/v8:bbbbb"},
		{single.String(), []string{"linux/s390x"}, nil, ":bbbbb"},
		{nested.String(), nil, []string{"linux/amd64"}, "linux/amd64:bbbbbb"},
	} {
		vs, err := see(t, w, tt.reference, tt.platforms, tt.own)
		if got := names(vs); err != nil || got != tt.want {
			t.Errorf("%s for %v, nodes %v: %q, %v, want %q", tt.reference, tt.platforms, tt.own, got, err, tt.want)
		}
	}
}

// What cannot be preheated says why.
func TestLookUpFails(t *testing.T) {
	t.Parallel()
	w := newWorld()
	d := w.image(t, "v1")
	index := func(of piece.Digest) piece.Digest {
		return w.put(t, object{"manifests": []object{{"mediaType": ociIndex, "digest": of.String(), "size": 1}}})
	}
	false_ := piece.Sum([]byte("false"))
	w.manifests[false_] = []byte("{}")
	huge := w.put(t, object{"config": object{"digest": d.String(), "size": 1}, "layers": []object{{"digest": d.String(), "size": int64(1) << 62}}})
	for reference, want := range map[string]string{
		"v2":                            "404",
		index(index(index(d))).String(): "too deep",
		false_.String():                 "content is",
		w.put(t, object{}).String():     "neither an image's nor an index",
		w.put(t, object{"manifests": []object{entry(d, "linux", "amd64", "")}, "layers": []object{{}}}).String(): "layers and manifests",
		huge.String(): "size",
		w.put(t, object{"manifests": []object{entry(d, "windows", "amd64", "")}}).String(): "it has windows/amd64",
	} {
		if vs, err := see(t, w, reference, nil, []string{"linux/amd64"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want an error about %q", reference, names(vs), err, want)
		}
	}
	if _, err := see(t, w, "v1", []string{"linux/s390x"}, nil); err == nil || !strings.Contains(err.Error(), "it has linux/amd64, linux/arm64/v8") {
		t.Errorf("a platform that is not there: %v", err)
	}
}
