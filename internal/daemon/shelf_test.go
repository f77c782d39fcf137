package daemon

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What is a manifest is learned, once; what is not, is not.
func TestShelf(t *testing.T) {
	store := storetest.NewMemory(0)
	put := func(content string) piece.Digest {
		d := piece.Sum([]byte(content))
		l, err := piece.NewLayout(int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		in, err := store.Ingest(t.Context(), d, l)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close() //nolint:errcheck // of a fake
		if _, err := in.Receive(t.Context(), 0, bytes.NewReader([]byte(content)), piece.Digest{}); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		return d
	}
	layer, config := put("a layer"), put(`{"architecture":"amd64","rootfs":{}}`)
	manifest := put(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":36},"layers":[{"digest":%q,"size":7}]}`, config, layer))
	type learned struct {
		manifest piece.Digest
		children []piece.Digest
	}
	var got []learned
	s := shelf{held: store, learn: func(m piece.Digest, c []piece.Digest) { got = append(got, learned{m, c}) }}
	s.look(t.Context())
	s.look(t.Context())
	if diff := cmp.Diff([]learned{{manifest, []piece.Digest{layer, config}}}, got, cmp.AllowUnexported(learned{})); diff != "" {
		t.Errorf("learned (-want +got):\n%s", diff)
	}
	second := put(fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":%q,"size":9}]}`, manifest))
	s.look(t.Context())
	if len(got) != 2 || got[1].manifest != second {
		t.Errorf("learned %d, want the index too", len(got))
	}
}
