package ledger

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/secret"
)

// What a Report may hold. A node keeps to it, and a scheduler takes no more.
const (
	// PullsMost bounds the pulls of one report, and with its interval what a node
	// tells in a minute: 48.
	PullsMost = 4
	// IncidentsMost bounds its incidents, in the same way.
	IncidentsMost = 4
	// ChecksMost bounds its checks: one, so 12 a minute.
	ChecksMost = 1
	// BlobsMost bounds the blobs of one pull that are told of: a container's
	// image has 127 layers at most.
	BlobsMost = 128
	// FindingsMost bounds those of a check; all checks together are some forty.
	FindingsMost = 16
	// TextMost bounds a reason or an advice, in bytes.
	TextMost = 512
	// NameMost bounds the name of an image, in bytes.
	NameMost = 512
)

// Report is what one node tells at a time.
type Report struct {
	Pulls     []pulls.Record
	Incidents []Incident
	Checks    []api.CheckRun
	// LeftOut is how much more there was to tell, since the report before.
	LeftOut int
}

// Incident is something that went wrong on a node, Times times in one way.
type Incident struct {
	Kind   string // one of api's
	About  string // HOST/REPOSITORY:TAG, HOST/REPOSITORY@DIGEST or a digest
	Status int    // the registry's; 0: that is not it
	Reason string
	Advice string
	Times  int
	Last   time.Time
}

// inQuery is the query or the fragment of an address: credentials travel there.
var inQuery = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'?#]*)[?#][^\s"']*`)

// Clean is a text that may leave its node: without what looks like a credential,
// without the queries of addresses, on one line, and of so many bytes at most.
func Clean(text string, most int) string {
	text = inQuery.ReplaceAllString(secret.Strike(text), "$1")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	const more = "…"
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}

// cleanRun is a check that may be kept and told.
func cleanRun(run api.CheckRun) api.CheckRun {
	const shortName = 255
	run.Node, run.Peer = Clean(run.Node, shortName), Clean(run.Peer, shortName)
	run.Image = Clean(run.Image, NameMost)
	run.Runs, run.Failures, run.LastSuccess = 0, 0, nil
	for _, n := range []*int64{&run.Millis, &run.PullMillis, &run.StartMillis, &run.EverySeconds} {
		*n = max(0, *n)
	}
	run.Made = max(0, run.Made)
	findings := make([]api.CheckFinding, 0, min(len(run.Findings), FindingsMost))
	for _, f := range run.Findings[:min(len(run.Findings), FindingsMost)] {
		findings = append(findings, api.CheckFinding{
			ID: Clean(f.ID, shortName), Category: Clean(f.Category, shortName), Description: Clean(f.Description, shortName),
			Result: Clean(f.Result, shortName), Error: Clean(f.Error, TextMost), Hint: Clean(f.Hint, shortName),
		})
	}
	run.Findings = findings
	return run
}
