package mirror

import (
	"net/http"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/tracing"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What Config.Pulls is told of requests, so that it can group them to the pulls
// of images.

// name is content of the repository that x asks.
func (x *exchange) name(d piece.Digest) pulls.Name {
	return pulls.Name{Host: x.host, Repo: x.target.name, Digest: d}
}

// kept is name for who keeps it: a substring of a request's path would keep all
// of it alive.
func (x *exchange) kept(d piece.Digest) pulls.Name {
	return pulls.Name{Host: strings.Clone(x.host), Repo: strings.Clone(x.target.name), Digest: d}
}

// pulling says that a blob is asked for; pulled says how that ended.
func (x *exchange) pulling() {
	if x.target.kind != Blob || x.r.Method != http.MethodGet {
		return
	}
	x.pull = pulls.Answer{Of: x.name(x.target.digest), Began: x.began, Size: -1, Source: pulls.FromCache}
	x.m.cfg.Pulls.Asked(x.began, x.pull.Of)
}

// sending says that the first byte of a blob can be sent, which is at off;
// negative if several parts are.
func (x *exchange) sending(c Content, off int64) {
	x.pull.First, x.pull.Off, x.pull.Size = time.Since(x.began), off, c.Size()
	x.pull.FirstFrom, x.content = sourceOf(c), c
}

// pulled says how the request for a blob ended. A client that is asked to prove
// itself has not been refused.
func (x *exchange) pulled() {
	if x.pull.Began.IsZero() {
		return
	}
	x.pull.Sent, x.pull.Trace = x.sent, x.span.TraceID()
	if x.content != nil {
		x.pull.Source = sourceOf(x.content)
		x.pull.FromPeers, x.pull.FromOrigin = x.content.Given()
	}
	switch x.outcome {
	case Served, Gone, outcomes:
	case Rejected, Missing, Failed, Cut, Panicked:
		x.pull.Refused = x.status != http.StatusUnauthorized
	}
	x.m.cfg.Pulls.Answered(time.Now(), x.pull)
}

// tracing begins the span of a request, and traced ends it.
func (x *exchange) tracing() {
	if t := x.m.cfg.Tracer; t != nil {
		w := tracing.What{Kind: x.target.kind.String(), Host: strings.Clone(x.host), Repo: strings.Clone(x.target.name), Tag: strings.Clone(x.target.tag), Digest: x.target.digest}
		x.span = t.Request(x.began, w, x.r.Header)
	}
}

func (x *exchange) traced() {
	if x.span == nil {
		return
	}
	how := tracing.Result{Outcome: x.outcome.String(), Status: x.status, Bytes: x.sent}
	how.Failed = x.outcome == Failed || x.outcome == Cut || x.outcome == Panicked
	if x.content != nil {
		how.Offset, how.Size, how.Source = x.pull.Off, x.pull.Size, string(x.pull.Source)
	}
	x.span.End(time.Now(), how)
}

// read says that the client got a manifest, and what that lists.
func (x *exchange) read(d piece.Digest, doc document) {
	if x.span != nil {
		x.span.Names(doc.children()...)
	}
	if doc.index {
		tag := x.pulledTag(d)
		for _, p := range doc.parts {
			x.m.cfg.Pulls.Named(x.began, tag, x.kept(p.digest))
		}
		return
	}
	blobs := make([]pulls.Blob, 0, len(doc.parts))
	for _, p := range doc.parts {
		blobs = append(blobs, pulls.Blob{Digest: p.digest, Size: p.size})
	}
	x.m.cfg.Pulls.Listed(x.began, time.Now(), x.kept(d), blobs)
}

// pulledTag is the tag by which the client came to a manifest or an index that
// it asks for; empty if it never named one.
func (x *exchange) pulledTag(d piece.Digest) string {
	if x.target.kind == Tag {
		return strings.Clone(x.target.tag)
	}
	return x.m.cfg.Pulls.TagOf(x.name(d))
}

// sourceOf is who gave most of what of content is here so far.
func sourceOf(c Content) pulls.Source {
	switch peers, origin := c.Given(); {
	case peers == 0 && origin == 0:
		return pulls.FromCache
	case peers >= origin:
		return pulls.FromPeer
	}
	return pulls.FromOrigin
}
