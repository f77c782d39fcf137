package preheat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxSelector bounds a selector: it goes into a URL, and ten labels of the
	// longest have as much.
	maxSelector = 4 << 10
	// labelsWithin bounds the wait for the platform's list of nodes, within what
	// p2pctl waits for an answer: ten thousand nodes are 20 pages.
	labelsWithin = 20 * time.Second
)

// Labelled are the nodes whose labels a selector fitted when a job was asked for.
// Whoever chooses the job's nodes goes by these names and asks the platform for
// nothing, so that it is the same nodes whichever scheduler that is, and whatever
// labels have become. It is never changed, as copies of a Spec share it.
type Labelled struct {
	Selector string `json:"selector"`
	// Names are sorted. They are gone once the job's nodes are chosen: those of ten
	// thousand nodes have some 300 KiB, and schedulers tell each other a job often.
	Names []string `json:"names,omitempty"`
	// Sum is the digest of the names, by which two jobs ask for the same.
	Sum string `json:"sum"`
}

func newLabelled(selector string, names []string) *Labelled {
	return &Labelled{Selector: selector, Names: names, Sum: piece.Sum([]byte(strings.Join(names, "\n"))).String()}
}

// has reports whether a node is among them; without a selector all are.
func (l *Labelled) has(node string) bool {
	if l == nil {
		return true
	}
	_, found := slices.BinarySearch(l.Names, node)
	return found
}

// same reports whether two are the same nodes by the same selector.
func (l *Labelled) same(o *Labelled) bool {
	return l.selector() == o.selector() && (l == nil || l.Sum == o.Sum)
}

// selector is what was asked for; empty: nothing was.
func (l *Labelled) selector() string {
	if l == nil {
		return ""
	}
	return l.Selector
}

// spent is what is kept of it once the names were gone by.
func (l *Labelled) spent() *Labelled {
	if l == nil || l.Names == nil {
		return l
	}
	return &Labelled{Selector: l.Selector, Sum: l.Sum}
}

// labelled notes a selector, whose names are to come, or says what is wrong with it as far
// as that can be seen without the platform. A blank one would fit every node there.
func (s *Spec) labelled(selector string) error {
	if selector == "" {
		return nil
	}
	s.Labelled = &Labelled{Selector: strings.TrimSpace(selector)}
	if s.Labelled.Selector == "" {
		return invalid("selector: it is blank", "leave it out, or write labels as for kubectl, such as gpu=true,disk in (ssd,nvme),!spot")
	}
	if len(selector) > maxSelector {
		return invalid(fmt.Sprintf("selector: %d bytes; the most is %d", len(selector), maxSelector), "choose by fewer labels, or give the nodes one label of their own")
	}
	return nil
}

func conflict(message, hint string) error {
	return &api.Error{Status: http.StatusConflict, Message: message, Hint: hint}
}

// label asks the platform which nodes a selector fits now. Errors are *api.Error.
func (k *Desk) label(ctx context.Context, selector string) (*Labelled, error) {
	if k.cfg.Labels == nil {
		return nil, conflict("selector needs schedulers that run in Kubernetes; name nodes by pattern instead",
			"nodes takes patterns of names, such as gpu-*; schedulers know labels with membership.mode kubernetes, as the chart has it")
	}
	ctx, cancel := context.WithTimeout(ctx, labelsWithin)
	defer cancel()
	names, err := k.cfg.Labels.NodesWith(ctx, selector)
	if err != nil {
		return nil, unlabelled(err, selector)
	}
	if len(names) == 0 {
		return nil, conflict(fmt.Sprintf("selector: no node of the Kubernetes cluster fits %q", selector), "kubectl get nodes --show-labels shows what there is")
	}
	l := newLabelled(selector, names)
	peers, err := k.cfg.Peers.Peers(ctx)
	if err != nil {
		return nil, &api.Error{Status: http.StatusServiceUnavailable, Message: "selector: this scheduler does not know its peers: " + err.Error(), Hint: "ask another one, or again"}
	}
	if !slices.ContainsFunc(peers, func(p scheduler.Peer) bool { return l.has(p.Node) }) {
		return nil, conflict(fmt.Sprintf("selector: %q fits %s, but no p2pd of any of them is connected", selector, counted(names)),
			"p2pctl peer ls shows which are; the DaemonSet's node selector and tolerations decide where p2pd runs")
	}
	return l, nil
}

// unlabelled is why the platform did not say which nodes a selector fits.
func unlabelled(err error, selector string) error {
	said, answered := errors.AsType[interface {
		error
		HTTPStatus() int
	}](err)
	switch {
	case answered && said.HTTPStatus() == http.StatusBadRequest:
		return invalid(fmt.Sprintf("selector: the API server does not take %q: %v", selector, said), "write it as for kubectl, such as gpu=true,disk in (ssd,nvme),!spot")
	case answered && said.HTTPStatus() == http.StatusForbidden:
		return &api.Error{
			Status: http.StatusForbidden, Message: fmt.Sprintf("selector: this scheduler may not list nodes: %v", said),
			Hint: `its ClusterRole lacks the rule {apiGroups: [""], resources: [nodes], verbs: [list]}, which the chart gives with preheat.selectors`,
		}
	}
	return &api.Error{Status: http.StatusServiceUnavailable, Message: "selector: " + err.Error(), Hint: "ask again, or name nodes by pattern instead"}
}

// counted is how many nodes there are, with the first few by name.
func counted(names []string) string {
	const named = 3
	shown := strings.Join(names[:min(named, len(names))], ", ")
	switch {
	case len(names) == 1:
		return "node " + shown
	case len(names) > named:
		shown += fmt.Sprintf(" and %d more", len(names)-named)
	}
	return fmt.Sprintf("%d nodes (%s)", len(names), shown)
}
