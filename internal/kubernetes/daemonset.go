package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// DaemonSet is how far a DaemonSet is.
type DaemonSet struct {
	Nodes int // those that are to have a pod of it
	Ready int // those whose pod is ready
	// Counted is whether the above is of the DaemonSet as it is now: nobody has counted
	// one that was just made.
	Counted bool
}

// daemonSet is the part of a DaemonSet (apps v1) that is needed here.
type daemonSet struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration     int64 `json:"observedGeneration"`
		DesiredNumberScheduled int   `json:"desiredNumberScheduled"`
		NumberReady            int   `json:"numberReady"`
	} `json:"status"`
}

func daemonSetPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + url.PathEscape(namespace) + "/daemonsets/" + url.PathEscape(name)
}

// DaemonSet asks how far one is. The error is an UnsureError.
func (c *Client) DaemonSet(ctx context.Context, namespace, name string) (DaemonSet, error) {
	var d daemonSet
	if err := c.do(ctx, http.MethodGet, daemonSetPath(namespace, name), nil, &d); err != nil {
		return DaemonSet{}, fmt.Errorf("DaemonSet %s/%s: %w", namespace, name, err)
	}
	return DaemonSet{
		Nodes: d.Status.DesiredNumberScheduled, Ready: d.Status.NumberReady,
		Counted: d.Metadata.Generation > 0 && d.Status.ObservedGeneration >= d.Metadata.Generation,
	}, nil
}

// DeleteDaemonSet deletes one, with its pods. That there is none is no error. The
// error is an UnsureError.
func (c *Client) DeleteDaemonSet(ctx context.Context, namespace, name string) error {
	options := map[string]string{"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
	var ignored struct{}
	if err := c.do(ctx, http.MethodDelete, daemonSetPath(namespace, name), options, &ignored); err != nil && !errors.Is(err, errAbsent) {
		return fmt.Errorf("delete DaemonSet %s/%s: %w", namespace, name, err)
	}
	return nil
}
