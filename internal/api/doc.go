// Package api is what the admin interfaces of the scheduler and of p2pd say, as
// JSON. Names of fields are stable: one that is there stays, with its meaning;
// others may be added. It holds values alone and knows neither who answers nor
// who asks; internal/web is the one, internal/ctl the other.
//
// Sizes are bytes, times are RFC 3339, and sets of pieces are lists of ranges
// such as "0-15,20".
//
// Start reading at Meta, then scheduler.go.
package api

// Version is the apiVersion of everything here.
const Version = "p2pd/v1"

// Prefix begins every path.
const Prefix = "/api/v1"

// SizeUnknown stands for a blob's size that nobody has told yet.
const SizeUnknown = -1

// Meta says what an answer is.
type Meta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Of is the Meta of a kind.
func Of(kind string) Meta { return Meta{APIVersion: Version, Kind: kind} }

// Page is the end of a list that comes in pages.
type Page struct {
	// Next is what to ask for as after to see what follows; absent at the
	// end of the list.
	Next string `json:"next,omitempty"`
}

// Error is the body of an answer that is none.
type Error struct {
	Meta
	Status  int    `json:"status"` // the HTTP status
	Message string `json:"message"`
	// Hint is what to do about it.
	Hint string `json:"hint,omitempty"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + "; " + e.Hint
	}
	return e.Message
}
