package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Lines as the registry of e2e/tools writes them.
const accessLog = `10.77.0.2 - - [23/Nov/2026:15:12:01 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "p2pd/devel"
10.77.0.2 - - [23/Nov/2026:15:12:01 +0000] "HEAD /v2/lab/app/manifests/v1 HTTP/1.1" 200 1021 "" "p2pd/devel"
10.77.0.2 - - [23/Nov/2026:15:12:01 +0000] "GET /v2/lab/app/manifests/sha256:aa HTTP/1.1" 200 1021 "" "p2pd/devel"
10.77.0.2 - - [23/Nov/2026:15:12:01 +0000] "GET /v2/lab/app/blobs/sha256:bb?ns=x HTTP/1.1" 206 1048576 "" "p2pd/devel"
10.77.0.3 - - [23/Nov/2026:15:12:02 +0000] "GET /v2/lab/app/blobs/sha256:bb HTTP/1.1" 206 1000 "" "p2pd/devel"
10.77.0.3 - - [23/Nov/2026:15:12:02 +0000] "GET /v2/lab/app/blobs/sha256:cc HTTP/1.1" 200 7 "" "containerd/1.6.20~ds1 \"quoted\""
10.77.0.3 - - [23/Nov/2026:15:12:02 +0000] "HEAD /v2/lab/app/blobs/sha256:cc HTTP/1.1" 404 - "" "p2pd/devel"
10.77.0.3 - - [23/Nov/2026:15:12:02 +0000] "GET /v2/lab/app/manifests/v1 HTTP/1.1" 200 1021 "" ""
`

func TestCountAccessLog(t *testing.T) {
	got, err := count(strings.NewReader(accessLog))
	if err != nil {
		t.Fatal(err)
	}
	want := Tally{
		Requests:    map[Kind]int{Other: 1, TagHead: 1, TagGet: 1, ManifestGet: 1, BlobGet: 3, BlobHead: 1},
		BlobBytes:   1048576 + 1000 + 7,
		Direct:      map[string]int64{"10.77.0.3": 7},
		GetsByBlob:  map[string]int{"sha256:bb": 2, "sha256:cc": 1},
		BytesByBlob: map[string]int64{"sha256:bb": 1049576, "sha256:cc": 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
}

func TestUnexpectedAccessLogIsAnError(t *testing.T) {
	if _, err := count(strings.NewReader(`{"level":"info"}` + "\n")); err == nil {
		t.Error("a line in another format was counted as no request")
	}
}
