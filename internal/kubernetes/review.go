package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// nodeName is where a token that is bound to a pod says on which node that
// runs (Kubernetes 1.30 and later).
const nodeName = "authentication.kubernetes.io/node-name"

// accountPrefix begins the user names of service accounts.
const accountPrefix = "system:serviceaccount:"

// ErrRefused says that a token is not genuine, or not for this audience.
var ErrRefused = errors.New("the API server does not vouch for this token")

// Account is a service account that a token was given to.
type Account struct {
	Name string // NAMESPACE/NAME
	Node string // where its pod runs; empty if the token does not say
}

// review is the part of a TokenReview (authentication.k8s.io/v1) that is
// needed here.
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences"`
	Error         string   `json:"error"`
	User          struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
}

// Review says which service account a token was given to, for that audience.
// The error is ErrRefused, or an UnsureError if there was no answer.
func (c *Client) Review(ctx context.Context, token, audience string) (Account, error) {
	r := review{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{Token: token, Audiences: []string{audience}}}
	if err := c.do(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", r, &r); err != nil {
		return Account{}, err
	}
	s := r.Status
	// A server that knows no audiences names none: its yes is not for us.
	if !s.Authenticated || !slices.Contains(s.Audiences, audience) {
		if s.Error != "" {
			return Account{}, fmt.Errorf("%w: %s", ErrRefused, s.Error)
		}
		return Account{}, ErrRefused
	}
	namespace, name, ok := strings.Cut(strings.TrimPrefix(s.User.Username, accountPrefix), ":")
	if !ok || !strings.HasPrefix(s.User.Username, accountPrefix) {
		return Account{}, fmt.Errorf("%w: %q is no service account", ErrRefused, s.User.Username)
	}
	a := Account{Name: namespace + "/" + name}
	if on := s.User.Extra[nodeName]; len(on) == 1 {
		a.Node = on[0]
	}
	return a, nil
}
