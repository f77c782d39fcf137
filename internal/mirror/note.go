package mirror

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What is noted in the journal: what clients did not get, and why, and what
// tags stood for. Clients that went away by themselves are not worth it.

// note notes how a request ended, if a client was left without something.
func (x *exchange) note() {
	j := x.m.cfg.Journal
	name := x.storyName()
	if j == nil || name == "" {
		return
	}
	if no := refusalIn(x.err); no != nil && no.Challenge != "" && x.r.Header.Get("Authorization") == "" {
		j.Note(name, x.began, journal.Asked, "the client is told (401) to bring a token of "+x.host+", as usual")
		return
	}
	how := ""
	switch x.outcome {
	case Rejected, Missing, Failed:
		how = fmt.Sprintf("%d", x.status)
	case Cut:
		how = fmt.Sprintf("cut after %d bytes", x.sent)
	case Panicked:
		how = "a defect in p2pd"
	case Served, Gone, outcomes:
		return
	}
	j.Note(name, x.began, journal.Refused, fmt.Sprintf("%s: %v%s", how, x.err, advice(x.err)))
}

// storyName is what the journal calls what was asked for.
func (x *exchange) storyName() string {
	switch x.target.kind {
	case Tag:
		return x.host + "/" + x.target.name + ":" + x.target.tag
	case Manifest, Blob:
		return x.target.digest.String()
	case Other, Base, kinds:
	}
	return ""
}

// noteTag notes what a tag stands for.
func (x *exchange) noteTag(d piece.Digest) {
	x.m.cfg.Journal.Note(x.storyName(), x.began, journal.Asked, x.host+" says that it is "+d.String())
}

// noteManifest notes how much a manifest lists.
func (x *exchange) noteManifest(d piece.Digest, children int) {
	x.m.cfg.Journal.Note(d.String(), time.Now(), journal.Asked, fmt.Sprintf("a manifest of %s/%s that lists %d blobs", x.host, x.target.name, children))
}

// advice is what can be done about a refusal.
func advice(err error) string {
	no, refused := errors.AsType[*RefusedError](err)
	switch {
	case errors.Is(err, ErrUnknownRegistry):
		return "; add it to registries in p2pd's configuration, or set allowAllRegistries"
	case !refused:
		return ""
	}
	switch no.Status {
	case http.StatusUnauthorized:
		return "; check the pull secret, or access.modes for this registry"
	case http.StatusForbidden:
		return "; these credentials may not pull this repository: ask who runs the registry"
	case http.StatusPreconditionFailed:
		return "; the registry's policy forbids it, as a scanner's findings do: see the image there"
	case http.StatusNotFound:
		return "; check the name, and whether these credentials see the repository"
	}
	return ""
}
