package lab

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

const (
	testBlob = "/v2/lab/app/blobs/sha256:aa"
	testTag  = "/v2/lab/app/manifests/v1"
)

// faultBench is a FaultProxy before a registry of one blob, and its client.
type faultBench struct {
	*FaultProxy
	url  string
	blob []byte
}

func newFaultBench(t *testing.T) faultBench {
	t.Helper()
	blob := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
	}))
	t.Cleanup(registry.Close)
	upstream, err := url.Parse(registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := &FaultProxy{upstream: upstream, client: &http.Transport{}, met: make(map[string]int)}
	t.Cleanup(f.client.CloseIdleConnections)
	front := httptest.NewServer(f)
	t.Cleanup(front.Close)
	return faultBench{f, front.URL, blob}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // how the body ended
}

// get is what a client that calls itself agent is told.
func (b faultBench) get(t *testing.T, agent, path, byteRange string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

func TestFaultProxyBodies(t *testing.T) {
	b := newFaultBench(t)
	for _, tt := range []struct {
		name      string
		fault     Fault
		byteRange string
		status    int
		want      []byte
		cut       bool
	}{
		{name: "none", status: 200, want: b.blob},
		{name: "a range", byteRange: "bytes=100-", status: 206, want: b.blob[100:]},
		{name: "cut", fault: Fault{CutAfter: 1000}, status: 200, want: b.blob[:1000], cut: true},
		{name: "cut where it ends anyway", fault: Fault{CutAfter: 1 << 20}, status: 200, want: b.blob},
		{name: "no ranges", fault: Fault{NoRange: true}, byteRange: "bytes=100-", status: 200, want: b.blob},
		{name: "slow", fault: Fault{Rate: 800e6}, status: 200, want: b.blob},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.Set(tt.fault)
			got := b.get(t, "containerd/2", testBlob, tt.byteRange)
			if errors.Is(got.err, io.ErrUnexpectedEOF) != tt.cut {
				t.Errorf("the body ended with %v; cut: %v", got.err, tt.cut)
			}
			if got.status != tt.status || !bytes.Equal(got.body, tt.want) {
				t.Errorf("got %d with %d bytes, want %d with %d", got.status, len(got.body), tt.status, len(tt.want))
			}
			if tt.fault.NoRange && got.header.Get("Accept-Ranges") != "" {
				t.Error("it says that it knows ranges")
			}
		})
	}
}

// Who meets a fault, at which path and how often.
func TestFaultProxyChooses(t *testing.T) {
	b := newFaultBench(t)
	refuse := Fault{Status: http.StatusTooManyRequests, RetryAfter: time.Second}
	with := func(change func(*Fault)) Fault { f := refuse; change(&f); return f }
	for _, tt := range []struct {
		name  string
		fault Fault
		agent string
		path  string
		want  []int // statuses, one request after the other
	}{
		{"always", refuse, "p2pd/1", testBlob, []int{429, 429, 429}},
		{"once", with(func(f *Fault) { f.Times = 1 }), "p2pd/1", testBlob, []int{429, 200, 200}},
		{"the second", with(func(f *Fault) { f.Spare, f.Times = 1, 1 }), "p2pd/1", testBlob, []int{200, 429, 200}},
		{"p2pd alone", with(func(f *Fault) { f.OnlyP2PD = true }), "p2pd/1", testBlob, []int{429}},
		{"not containerd", with(func(f *Fault) { f.OnlyP2PD = true }), "containerd/2", testBlob, []int{200}},
		{"not manifests", refuse, "p2pd/1", testTag, []int{200}},
		{"manifests too", with(func(f *Fault) { f.Manifests = true }), "p2pd/1", testTag, []int{429}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.Set(tt.fault)
			met := 0
			for i, want := range tt.want {
				got := b.get(t, tt.agent, tt.path, "")
				if got.status != want {
					t.Errorf("request %d is answered %d, want %d", i, got.status, want)
				}
				if want == 429 {
					met++
					if got.header.Get("Retry-After") != "1" || !bytes.Contains(got.body, []byte(FaultMessage)) {
						t.Errorf("refused with %v and %q", got.header, got.body)
					}
				}
			}
			if got := b.Tally().Met; got != met {
				t.Errorf("%d requests are said to have met the fault, want %d", got, met)
			}
		})
	}
}

func TestFaultProxyTally(t *testing.T) {
	b := newFaultBench(t)
	for _, byteRange := range []string{"", "bytes=0-", "bytes=1000-"} {
		b.get(t, "containerd/2", testBlob, byteRange)
	}
	b.get(t, "p2pd/1", testBlob, "")
	b.get(t, "p2pd/1", testTag, "") // no blob
	size := int64(len(b.blob))
	want := FaultTally{
		P2PD:   Reads{Requests: 1, Bytes: size},
		Direct: Reads{Requests: 3, Ranges: 2, Resumed: 1, Bytes: 3*size - 1000},
	}
	if got := b.Tally(); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
}
