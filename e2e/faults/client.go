package faults

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// client pulls blobs on one node as containerd does: from the mirror, and what
// that does not give from the origin, from where it stopped.
type client struct {
	node   int
	mirror string // base URL of this node's p2pd
	origin string
	http   *http.Client
}

// target is a blob to pull.
type target struct {
	repository, kind, digest string // kind is blobs or manifests
	size                     int64
}

// path is where a registry has it.
func (b target) path() string { return "/v2/" + b.repository + "/" + b.kind + "/" + b.digest }

func newClient(l *lab.Lab, node int) *client {
	return &client{
		node: node, mirror: l.MirrorURL(node), origin: l.Registry.Endpoint,
		http: l.Net.Nodes[node].HTTPClient(),
	}
}

// pull gets one blob, whatever it takes.
func (c *client) pull(ctx context.Context, b target) Pull {
	ctx, cancel := context.WithTimeout(ctx, maxPull+10*time.Second) // what takes longer is told
	defer cancel()
	p := Pull{Node: c.node, Digest: b.digest, Size: b.size, Start: time.Now()}
	sum := sha256.New()
	var err error
	p.Mirror, err = c.get(ctx, c.mirror, "?ns="+lab.RegistryHost, b, 0, sum)
	if err == nil {
		p.MirrorEnded, p.MirrorGot = true, digestOf(sum)
	} else {
		p.MirrorSaid = err.Error()
		p.Direct, err = c.get(ctx, c.origin, "", b, p.Mirror, sum)
	}
	p.End = time.Now()
	if err != nil {
		p.Err = err.Error()
		return p
	}
	if p.Got = digestOf(sum); p.Got != p.Digest { // containerd looks, too
		p.Err = "the bytes are not those of the digest"
	}
	return p
}

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// get reads a blob from an offset to its end into sum. It returns how much came.
func (c *client) get(ctx context.Context, base, query string, b target, off int64, sum io.Writer) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+b.path()+query, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "fault-client/1")
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, */*")
	want := http.StatusOK
	if off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
		want = http.StatusPartialContent
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // says more, or nothing
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	}
	body := io.Reader(resp.Body)
	if base == c.origin { // its stalls last for as long as the connection
		idle := time.AfterFunc(originPatience, cancel)
		defer idle.Stop()
		body = &patient{resp.Body, idle}
	}
	n, err := io.Copy(sum, body)
	if err == nil && n != b.size-off {
		err = fmt.Errorf("a body of %d bytes, expected %d", n, b.size-off)
	}
	return n, err
}

// originPatience is for an origin that stops in the middle of a body. For p2pd
// there is none: it must not do that.
const originPatience = 15 * time.Second

// patient puts its timer off whenever bytes come.
type patient struct {
	io.Reader
	idle *time.Timer
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.idle.Reset(originPatience)
	return n, err
}

// intrude asks for a blob in somebody's name, and reads what it is given.
func (c *client) intrude(ctx context.Context, b target, as, authorization string) Intrusion {
	i := Intrusion{Node: c.node, At: time.Now(), Digest: b.digest, As: as}
	ctx, cancel := context.WithTimeout(ctx, maxPull)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.mirror+b.path()+"?ns="+lab.RegistryHost, nil)
	if err != nil {
		return i
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return i
	}
	defer resp.Body.Close()
	i.Status = resp.StatusCode
	_, _ = io.Copy(io.Discard, resp.Body) // a body that is cut is no right
	return i
}
