package mirror

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// imageManifest is an OCI manifest of a config and layers with these sizes.
func imageManifest(config piece.Digest, configSize int64, layer piece.Digest, layerSize int64) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q,"size":%d},"layers":[{"digest":%q,"size":%d}]}`,
		ociManifest, config, configSize, layer, layerSize)
}

func TestTag(t *testing.T) {
	layer := piece.Sum([]byte("layer"))
	w := newWorld()
	body := imageManifest(layer, 5, layer, 5)
	d, _ := w.add(body)
	size := int64(len(body))
	at := testHost + "/" + testRepo + ":"
	w.tags[at+"full"] = Descriptor{d, size, ociManifest}
	w.tags[at+"sizeless"] = Descriptor{d, scheduler.SizeUnknown, ociManifest}
	w.tags[at+"typeless"] = Descriptor{d, size, ""}
	w.tags[at+"mistyped"] = Descriptor{d, size, "text/html"}
	tests := []struct {
		method, tag string
		opened      []int64 // the size that Open was given, if it was called
	}{
		{"HEAD", "full", nil},
		{"HEAD", "sizeless", []int64{-1}},
		{"HEAD", "typeless", []int64{size}},
		{"HEAD", "mistyped", []int64{size}},
		{"GET", "full", []int64{size}},
		{"GET", "sizeless", []int64{-1}},
		{"GET", "typeless", []int64{size}},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.tag, func(t *testing.T) {
			w := &world{blobs: w.blobs, tags: w.tags}
			lab := newLab(t, w, Config{})
			a := lab.do(tt.method, manifestPath(tt.tag))
			if a.status != 200 || a.header.Get("Content-Type") != ociManifest ||
				a.header.Get("Docker-Content-Digest") != d.String() ||
				a.header.Get("Content-Length") != strconv.FormatInt(size, 10) ||
				a.header.Get("ETag") != `"`+d.String()+`"` {
				t.Errorf("got %d %v", a.status, a.header)
			}
			if want := string(body); tt.method == "GET" && string(a.body) != want {
				t.Errorf("body %q, want %q", a.body, want)
			}
			var sizes []int64
			for _, o := range lab.openings() {
				sizes = append(sizes, o.size)
				if o.source != (fakeSource{"manifests", testHost, testRepo, d}) {
					t.Errorf("opened with %v", o.source)
				}
			}
			if diff := cmp.Diff(tt.opened, sizes); diff != "" {
				t.Errorf("opened (-want +got):\n%s", diff)
			}
			lab.do(tt.method, manifestPath(tt.tag))
			if lab.resolved != 2 {
				t.Errorf("two requests by tag asked the origin %d times", lab.resolved)
			}
		})
	}
}

func TestTagWithoutDigest(t *testing.T) {
	w := newWorld()
	w.tags[testHost+"/"+testRepo+":1"] = Descriptor{Size: 3, MediaType: ociManifest}
	lab := newLab(t, w, Config{})
	if a := lab.do("HEAD", manifestPath("1")); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
}

func TestManifestByDigest(t *testing.T) {
	layer := piece.Sum([]byte("layer"))
	w := newWorld()
	body := imageManifest(layer, 5, layer, 5)
	d, _ := w.add(body)
	lab := newLab(t, w, Config{})
	head := lab.do("HEAD", manifestPath(d.String()))
	get := lab.do("GET", manifestPath(d.String()))
	for _, h := range []string{"Date"} {
		head.header.Del(h)
		get.header.Del(h)
	}
	if diff := cmp.Diff(get.header, head.header); diff != "" || head.status != 200 || get.status != 200 {
		t.Errorf("HEAD %d is not GET %d without body:\n%s", head.status, get.status, diff)
	}
	if string(get.body) != string(body) {
		t.Errorf("body %q", get.body)
	}
	// As containerd's parallel fetch asks for every manifest.
	all := lab.do("GET", manifestPath(d.String()), "Range", "bytes=0-")
	want := fmt.Sprintf("bytes 0-%d/%d", len(body)-1, len(body))
	if all.status != 206 || all.header.Get("Content-Range") != want || string(all.body) != string(body) ||
		all.header.Get("Content-Type") != ociManifest {
		t.Errorf("bytes=0- got %d %v %q", all.status, all.header, all.body)
	}
	if lab.resolved != 0 {
		t.Error("a digest was resolved")
	}
}

// A manifest under /blobs/ is served; what is no manifest is not served under
// /manifests/, whatever makes it none.
func TestWhatTheDigestNames(t *testing.T) {
	w := newWorld()
	layer := piece.Sum([]byte("layer"))
	manifest, _ := w.add(imageManifest(layer, 5, layer, 5))
	lab := newLab(t, w, Config{})
	if a := lab.do("GET", blobPath(manifest)); a.status != 200 || a.header.Get("Content-Type") != octets {
		t.Errorf("manifest as a blob: %d %v", a.status, a.header)
	}
	for name, content := range map[string][]byte{
		"layer":    pattern(1000),
		"empty":    nil,
		"config":   []byte(`{"architecture":"amd64"}`),
		"too long": append(imageManifest(layer, 5, layer, 5), strings.Repeat(" ", maxDocument)...),
	} {
		d, _ := w.add(content)
		for _, method := range []string{"GET", "HEAD"} {
			a := lab.do(method, manifestPath(d.String()))
			code, _ := a.errorBody()
			if a.status != 404 || (method == "GET" && code != "MANIFEST_UNKNOWN") {
				t.Errorf("%s %s: %d %s", method, name, a.status, a.body)
			}
		}
	}
}

func TestSizesAreLearned(t *testing.T) {
	w := newWorld()
	layer, _ := w.add([]byte("a layer"))
	config, _ := w.add([]byte("config"))
	manifest, _ := w.add(imageManifest(config, 6, layer, 7))
	index, _ := w.add(fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q,"size":%d}]}`,
		manifest, len(w.blobs[manifest].data)))
	lab := newLab(t, w, Config{})
	lab.do("GET", manifestPath(index.String()))
	lab.do("HEAD", manifestPath(manifest.String()))
	lab.do("GET", blobPath(config))
	lab.do("GET", blobPath(layer))
	lab.do("GET", "/v2/else/where/blobs/"+layer.String()+"?ns="+testHost)
	lab.do("GET", "/v2/"+testRepo+"/blobs/"+layer.String()+"?ns=else.test")
	var sizes []int64
	for _, o := range lab.openings() {
		sizes = append(sizes, o.size)
	}
	if diff := cmp.Diff([]int64{-1, int64(len(w.blobs[manifest].data)), 6, 7, -1, -1}, sizes); diff != "" {
		t.Errorf("opened with sizes (-want +got):\n%s", diff)
	}
	before := len(lab.openings())
	if a := lab.do("HEAD", blobPath(layer)); a.status != 200 || a.header.Get("Content-Length") != "7" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	if after := len(lab.openings()); after != before {
		t.Error("HEAD of a blob of known size opened it")
	}
	unknown, _ := w.add([]byte("unknown size"))
	if a := lab.do("HEAD", blobPath(unknown)); a.status != 200 || a.header.Get("Content-Length") != "12" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
}

func TestManifestsGiveTheirTurnBack(t *testing.T) {
	w := newWorld()
	layer := piece.Sum([]byte("layer"))
	good, _ := w.add(imageManifest(layer, 5, layer, 5))
	bad, _ := w.add([]byte("{}"))
	lab := newLab(t, w, Config{})
	for range maxParsing + 1 {
		lab.do("GET", manifestPath(bad.String()))
		if a := lab.do("GET", manifestPath(good.String())); a.status != 200 {
			t.Fatalf("got %d", a.status)
		}
	}
}

func TestTooLongManifestsAreNotOpened(t *testing.T) {
	w := newWorld()
	tagged, listed := piece.Sum([]byte("tagged")), piece.Sum([]byte("listed"))
	w.tags[testHost+"/"+testRepo+":1"] = Descriptor{tagged, maxDocument + 1, ociManifest}
	lab := newLab(t, w, Config{})
	lab.mirror.sizes.learn(testHost, testRepo, promise{listed, maxDocument + 1})
	for _, reference := range []string{"1", listed.String()} {
		for _, method := range []string{"HEAD", "GET"} {
			if a := lab.do(method, manifestPath(reference)); a.status != 404 {
				t.Errorf("%s %s: %d", method, reference, a.status)
			}
		}
	}
	if n := len(lab.openings()); n != 0 {
		t.Errorf("opened %d", n)
	}
}

func TestManifestsWaitTheirTurn(t *testing.T) {
	w := newWorld()
	layer := piece.Sum([]byte("layer"))
	d, _ := w.add(imageManifest(layer, 5, layer, 5))
	lab := newLab(t, w, Config{FirstByteTimeout: 1, Arrivals: new(arrivals)})
	for range maxParsing {
		lab.mirror.parsing <- struct{}{}
	}
	if a := lab.do("GET", manifestPath(d.String())); a.status != 503 {
		t.Errorf("got %d with no room for a manifest", a.status)
	}
}

func TestParseDocument(t *testing.T) {
	a, b := piece.Sum([]byte("a")), piece.Sum([]byte("b"))
	entry := func(d any, size string) string { return fmt.Sprintf(`{"digest":"%v","size":%s}`, d, size) }
	ea := entry(a, "1")
	tests := []struct {
		name, in string
		want     string // media type, or part of the error
		promises []promise
	}{
		{"typed manifest", `{"schemaVersion":2,"mediaType":"` + dockerManifest + `","config":` + ea + `,"layers":[` + entry(b, "2") + `]}`,
			dockerManifest, []promise{{b, 2}, {a, 1}}},
		{"untyped manifest", `{"schemaVersion":2,"config":` + ea + `,"layers":[]}`, ociManifest, []promise{{a, 1}}},
		{"typed list", `{"schemaVersion":2,"mediaType":"` + dockerList + `","manifests":[` + ea + `]}`, dockerList, []promise{{a, 1}}},
		{"untyped index", `{"schemaVersion":2,"manifests":[` + ea + `,` + ea + `]}`, ociIndex, []promise{{a, 1}, {a, 1}}},
		{"null is absent", `{"schemaVersion":2,"layers":null,"config":null,"manifests":[]}`, ociIndex, nil},
		{"other algorithm", `{"schemaVersion":2,"layers":[` + entry("sha512:"+strings.Repeat("0", 128), "7") + `]}`, ociManifest, nil},
		{"largest", `{"schemaVersion":2,"layers":[` + entry(a, "1099511627776") + `]}`, ociManifest, []promise{{a, 1 << 40}}},

		{"both", `{"schemaVersion":2,"layers":[],"manifests":[]}`, "layers and manifests", nil},
		{"both, in capitals", `{"schemaVersion":2,"Layers":[],"manifests":[]}`, "layers and manifests", nil},
		{"config in an index", `{"schemaVersion":2,"config":` + ea + `,"manifests":[]}`, "layers and manifests", nil},
		{"index that says manifest", `{"schemaVersion":2,"mediaType":"` + ociManifest + `","manifests":[]}`, "that lists manifests", nil},
		{"manifest that says index", `{"schemaVersion":2,"mediaType":"` + ociIndex + `","layers":[]}`, "that lists layers", nil},
		{"layers twice", `{"schemaVersion":2,"layers":[],"layers":[` + ea + `]}`, "twice", nil},
		{"config twice", `{"schemaVersion":2,"config":` + ea + `,"config":` + ea + `}`, "twice", nil},
		{"neither", `{"schemaVersion":2}`, "neither", nil},
		{"other type", `{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json","layers":[]}`, "not served", nil},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "schema version", nil},
		{"negative", `{"schemaVersion":2,"layers":[` + entry(a, "-1") + `]}`, "no size", nil},
		{"too large", `{"schemaVersion":2,"layers":[` + entry(a, "1099511627777") + `]}`, "no size", nil},
		{"overflow", `{"schemaVersion":2,"layers":[` + entry(a, "9223372036854775808") + `]}`, "not a manifest", nil},
		{"fraction", `{"schemaVersion":2,"layers":[` + entry(a, "1.5") + `]}`, "not a manifest", nil},
		{"no size", `{"schemaVersion":2,"layers":[{"digest":"` + a.String() + `"}]}`, "no size", nil},
		{"bad digest", `{"schemaVersion":2,"layers":[` + entry("sha256:12", "1") + `]}`, "digest", nil},
		{"object for list", `{"schemaVersion":2,"layers":{}}`, "not in a list", nil},
		{"number for list", `{"schemaVersion":2,"layers":7}`, "not in a list", nil},
		{"trailing bytes", `{"schemaVersion":2,"layers":[]} {}`, "not a manifest", nil},
		{"no JSON", "\x1f\x8b\x08", "not a manifest", nil},
		{"too many", `{"schemaVersion":2,"layers":[` + ea + strings.Repeat(","+ea, maxDescriptors) + `]}`, "more than", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := parseDocument([]byte(tt.in))
			if err != nil {
				if isManifestType(tt.want) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if doc.mediaType != tt.want {
				t.Errorf("media type %q, want %q", doc.mediaType, tt.want)
			}
			if diff := cmp.Diff(tt.promises, doc.promises, cmp.AllowUnexported(promise{})); diff != "" {
				t.Errorf("promises (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManifestRefusedByOrigin(t *testing.T) {
	w := newWorld()
	d, b := w.add([]byte("x"))
	b.err = &peer.OriginError{Status: 403, Message: "this image is quarantined"}
	a := newLab(t, w, Config{}).do("GET", manifestPath(d.String()))
	if _, message := a.errorBody(); a.status != 404 || !strings.Contains(message, "quarantined") || !strings.Contains(message, testHost) {
		t.Errorf("got %d %q", a.status, message)
	}
}
