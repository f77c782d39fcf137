package mirror

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What is noted in the journal: what clients did not get, and why, and what
// tags stood for. Clients that went away by themselves are not worth it.

// note notes how a request ended, if a client was left without something.
func (x *exchange) note() {
	j := x.m.cfg.Journal
	name := x.storyName()
	if name == "" {
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
	advice := advice(x.err)
	text := fmt.Sprintf("%s: %v", how, x.err)
	if advice != "" {
		text += "; " + advice
	}
	j.Note(name, x.began, journal.Refused, text)
	x.denied(advice)
}

// denied tells who runs the cluster of what a client did not get by somebody's
// policy: the registry's, or that of this node's configuration. What is not there,
// or cannot be had now, is no such thing.
func (x *exchange) denied(advice string) {
	status, reason := refusedWith(x.err)
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPreconditionFailed, http.StatusUnavailableForLegalReasons:
	default:
		if !errors.Is(x.err, ErrUnknownRegistry) {
			return
		}
		status = 0
	}
	switch {
	case status == 0:
		reason = x.err.Error()
	case reason == "":
		reason = "it gave no reason"
	}
	about := pulls.Name{Host: x.host, Repo: x.target.name, Digest: x.target.digest}
	x.m.cfg.Refused(x.began, ledger.Incident{
		Kind: api.IncidentRefusal, About: ledger.ImageName(about, x.pulledTag(x.target.digest)), Status: status, Reason: reason, Advice: advice,
	})
}

// refusedWith is the status with which a registry refused, and what it said;
// 0 if it did not.
func refusedWith(err error) (status int, reason string) {
	if no := refusalIn(err); no != nil {
		return no.Status, no.Reason
	}
	if no, refused := errors.AsType[*peer.OriginError](err); refused {
		return no.Status, no.Message
	}
	return 0, ""
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
		return "add it to registries in p2pd's configuration, or set allowAllRegistries"
	case !refused:
		return ""
	}
	switch no.Status {
	case http.StatusUnauthorized:
		return "check the pull secret, or access.modes for this registry"
	case http.StatusForbidden:
		return "these credentials may not pull this repository: ask who runs the registry"
	case http.StatusPreconditionFailed:
		return "the registry's policy forbids it, as a scanner's findings do: see the image there"
	case http.StatusNotFound:
		return "check the name, and whether these credentials see the repository"
	}
	return ""
}
