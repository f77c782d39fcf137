package lab

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a request to a registry asks for.
type Kind int

// The kinds of requests that pulls make; any other is Other.
const (
	Other Kind = iota
	TagHead
	TagGet
	ManifestHead // by digest
	ManifestGet  // by digest
	BlobHead
	BlobGet
)

// Request is one line of the access log. Bytes are those of the body that the
// registry handed to the kernel: if the client went away, up to a socket
// buffer more than it got.
type Request struct {
	Kind   Kind
	Remote string // address of the client
	Digest string // of a blob or a manifest asked by digest
	Status int
	Bytes  int64
	Agent  string
}

// Tally is what a registry was asked for. Refused requests count as requests.
type Tally struct {
	Requests  map[Kind]int
	BlobBytes int64
	// Direct are those of BlobBytes that something else than p2pd read, by the
	// client's address.
	Direct map[string]int64
	// GetsByBlob counts blob GETs by digest, BytesByBlob what they got.
	GetsByBlob  map[string]int
	BytesByBlob map[string]int64
}

// DirectBytes is how much went past p2pd, by all clients.
func (t Tally) DirectBytes() (sum int64) {
	for _, n := range t.Direct {
		sum += n
	}
	return sum
}

// accessLine is the combined log format.
var accessLine = regexp.MustCompile(`^(\S+) \S+ \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+|-) "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"$`)

// parseAccess reads one line; ok is false if it is not a request.
func parseAccess(line string) (r Request, ok bool) {
	m := accessLine.FindStringSubmatch(line)
	if m == nil {
		return r, false
	}
	u, err := url.Parse(m[3])
	if err != nil {
		return r, false
	}
	r = Request{Remote: m[1], Agent: m[6]}
	r.Kind, r.Digest = kindOf(m[2], u.Path)
	r.Status, _ = strconv.Atoi(m[4])            // three digits
	r.Bytes, _ = strconv.ParseInt(m[5], 10, 64) // "-" is none
	return r, true
}

func kindOf(method, path string) (Kind, string) {
	parts := strings.Split(path, "/")
	if len(parts) < 5 || parts[1] != "v2" {
		return Other, ""
	}
	what, ref := parts[len(parts)-2], parts[len(parts)-1]
	digest := strings.Contains(ref, ":")
	for _, k := range []struct {
		kind         Kind
		method, what string
		digest       bool
	}{
		{TagHead, "HEAD", "manifests", false},
		{TagGet, "GET", "manifests", false},
		{ManifestHead, "HEAD", "manifests", true},
		{ManifestGet, "GET", "manifests", true},
		{BlobHead, "HEAD", "blobs", true},
		{BlobGet, "GET", "blobs", true},
	} {
		if k.method == method && k.what == what && k.digest == digest {
			if !digest {
				ref = ""
			}
			return k.kind, ref
		}
	}
	return Other, ""
}

// count reads an access log. Lines that are not requests are an error: a
// format that changed must not count as silence.
func count(log io.Reader) (Tally, error) {
	t := Tally{Requests: make(map[Kind]int), GetsByBlob: make(map[string]int), BytesByBlob: make(map[string]int64), Direct: make(map[string]int64)}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		r, ok := parseAccess(lines.Text())
		if !ok {
			return t, fmt.Errorf("access log: unexpected line %q", lines.Text())
		}
		t.Requests[r.Kind]++
		if r.Kind != BlobGet {
			continue
		}
		t.GetsByBlob[r.Digest]++
		t.BytesByBlob[r.Digest] += r.Bytes
		t.BlobBytes += r.Bytes
		if !strings.HasPrefix(r.Agent, "p2pd/") {
			t.Direct[r.Remote] += r.Bytes
		}
	}
	if err := lines.Err(); err != nil {
		return t, fmt.Errorf("access log: %w", err)
	}
	return t, nil
}
