package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// node is the part of a Node (core v1) that is needed here.
type node struct {
	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

// NodeLabel is what a node has under a label; empty if it has no such label, or there is
// no such node. The account that asks must be allowed to get nodes. The error is an
// UnsureError.
func (c *Client) NodeLabel(ctx context.Context, name, label string) (string, error) {
	var n node
	err := c.do(ctx, http.MethodGet, "/api/v1/nodes/"+url.PathEscape(name), nil, &n)
	if err != nil && !errors.Is(err, errAbsent) {
		return "", fmt.Errorf("label %s of node %s: %w", label, name, err)
	}
	return n.Metadata.Labels[label], nil
}
