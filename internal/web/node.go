package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// verifyWithin bounds a verification: a terabyte at 1 GB/s.
	verifyWithin = 20 * time.Minute
	// nameMost bounds the name of a tag: host, repository and tag.
	nameMost = 255 + 1 + 255 + 1 + 128
)

func (s *Server) nodeRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/downloads", of: ofNode, summary: "What is arriving, the oldest first",
			returns: api.DownloadList{}, serve: s.downloads,
		}, {
			method: http.MethodGet, path: "/cache", of: ofNode, summary: "What the node holds, what was used last first",
			returns: api.CacheList{}, serve: s.cache,
		}, {
			method: http.MethodPost, path: "/cache/verify", of: ofNode, summary: "Read blobs again and remove those that are damaged",
			takes: api.VerifyRequest{}, returns: api.VerifyResult{}, within: verifyWithin, serve: s.verify,
		}, {
			method: http.MethodPost, path: "/cache/prune", of: ofNode, summary: "Remove blobs from the store",
			takes: api.PruneRequest{}, returns: api.PruneResult{}, serve: s.prune,
		}, {
			method: http.MethodDelete, path: "/cache/{digest}", of: ofNode, summary: "Remove one blob from the store",
			returns: api.PruneResult{}, serve: s.remove,
		}, {
			method: http.MethodGet, path: "/explain", of: ofNode, summary: "What can be explained, the latest first; or what happened to a tag",
			query:   []param{{"name", "string", "HOST/REPOSITORY:TAG or a digest: the answer is an Explanation then"}},
			returns: api.ExplanationList{}, serve: s.explained,
		}, {
			method: http.MethodGet, path: "/explain/{digest}", of: ofNode, summary: "What happened to a blob on this node",
			returns: api.Explanation{}, serve: s.explain,
		},
	}
}

func (s *Server) downloads(r *http.Request) (any, error) {
	items, err := s.cfg.Node.Downloads(r.Context())
	if err != nil {
		return nil, err
	}
	return api.DownloadList{Meta: api.Of("DownloadList"), Items: items}, nil
}

func (s *Server) cache(r *http.Request) (any, error) {
	list, err := s.cfg.Node.Cache(r.Context())
	list.Meta = api.Of("CacheList")
	return list, err
}

func (s *Server) verify(r *http.Request) (any, error) {
	var ask api.VerifyRequest
	if err := read(r, &ask); err != nil {
		return nil, err
	}
	ds := make([]piece.Digest, 0, len(ask.Digests))
	for _, text := range ask.Digests {
		d, err := piece.ParseDigest(text)
		if err != nil {
			return nil, invalid(err.Error(), "write digests as sha256: and 64 hexadecimal digits")
		}
		ds = append(ds, d)
	}
	found, err := s.cfg.Node.Verify(r.Context(), ds)
	found.Meta = api.Of("VerifyResult")
	note(r, fmt.Sprintf("%d blobs read, %d damaged", len(found.Items), found.Damaged))
	return found, err
}

func (s *Server) prune(r *http.Request) (any, error) {
	var ask api.PruneRequest
	if err := read(r, &ask); err != nil {
		return nil, err
	}
	what := PruneWhat{Spare: ask.Spare, Partial: ask.Partial, DryRun: ask.DryRun}
	if ask.UnusedFor != "" {
		d, err := time.ParseDuration(ask.UnusedFor)
		if err != nil || d < 0 {
			return nil, invalid(fmt.Sprintf("unusedFor: %.40q is not a duration", ask.UnusedFor), "write one such as 24h")
		}
		what.UnusedFor = d
	}
	gone, err := s.cfg.Node.Prune(r.Context(), what)
	return pruned(r, gone, err)
}

func (s *Server) remove(r *http.Request) (any, error) {
	d, err := digest(r)
	if err != nil {
		return nil, err
	}
	gone, err := s.cfg.Node.Remove(r.Context(), d)
	return pruned(r, gone, err)
}

func pruned(r *http.Request, gone api.PruneResult, err error) (any, error) {
	gone.Meta = api.Of("PruneResult")
	if err == nil && !gone.DryRun {
		note(r, fmt.Sprintf("%d blobs removed, %d bytes", len(gone.Items), gone.Bytes))
	}
	return gone, err
}

func (s *Server) explained(r *http.Request) (any, error) {
	if name := r.URL.Query().Get("name"); name != "" {
		if len(name) > nameMost {
			return nil, invalid(fmt.Sprintf("name: it has %d bytes", len(name)), "write HOST/REPOSITORY:TAG or a digest")
		}
		return s.story(r, name)
	}
	items, err := s.cfg.Node.Explained(r.Context())
	if err != nil {
		return nil, err
	}
	return api.ExplanationList{Meta: api.Of("ExplanationList"), Items: items}, nil
}

func (s *Server) explain(r *http.Request) (any, error) {
	d, err := digest(r)
	if err != nil {
		return nil, err
	}
	return s.story(r, d.String())
}

func (s *Server) story(r *http.Request, name string) (any, error) {
	e, is, err := s.cfg.Node.Explain(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if !is {
		return nil, absent("nothing is remembered of "+name, "this p2pd was not asked for it since it started, or so long ago that it is forgotten; does containerd ask it at all? GET "+api.Prefix+"/explain lists what is remembered")
	}
	e.Meta = api.Of("Explanation")
	return e, nil
}

// InUse is what a Node says of a blob that cannot be removed now.
func InUse(d piece.Digest) error {
	return &api.Error{Status: http.StatusConflict, Message: d.String() + " is in use", Hint: "somebody reads or writes it; try again later"}
}

// NotHeld is what a Node says of a blob that it does not have.
func NotHeld(d piece.Digest) error {
	return absent(d.String()+" is not in the store", "GET "+api.Prefix+"/cache lists what is; what containerd holds, containerd removes")
}

// Busy is what a Node says that verifies already.
func Busy() error {
	return &api.Error{Status: http.StatusConflict, Message: "a verification is running", Hint: "wait for it to end"}
}
