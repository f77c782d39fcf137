package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

const (
	// pageOf is how many nodes one answer lists, as for kubectl.
	pageOf = 500
	// maxPage bounds what is read of such an answer, in bytes. A node's metadata have
	// some kilobytes, most of them about who has set which field; this is 128 KiB each.
	maxPage = 64 << 20
	// maxNodes bounds the names that are kept: ten times what one cluster of
	// Kubernetes is made for.
	maxNodes = 50_000
	// namesOf is the kind of list that has of each object its metadata alone.
	namesOf = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
)

// NodesWith are the names of the nodes whose labels a selector fits, sorted. What a
// selector may be, the API server knows: gpu=true,disk in (ssd,nvme),!spot. The account
// that asks must be allowed to list nodes. The error is an UnsureError, with an
// AnswerError in it if the API server has refused.
//
// However many nodes there are, one is in memory at a time, and the names.
func (c *Client) NodesWith(ctx context.Context, selector string) ([]string, error) {
	var names []string
	for from := ""; ; {
		query := url.Values{"labelSelector": {selector}, "limit": {strconv.Itoa(pageOf)}}
		if from != "" {
			query.Set("continue", from)
		}
		body, err := c.ask(ctx, http.MethodGet, "/api/v1/nodes?"+query.Encode(), namesOf, nil)
		if err != nil {
			return nil, err
		}
		names, from, err = appendPage(names, io.LimitReader(body, maxPage))
		body.Close()
		if err != nil {
			return nil, UnsureError{fmt.Errorf("list of nodes: %w", err)}
		}
		if from == "" {
			slices.Sort(names)
			return names, nil
		}
	}
}

// listed is the part of an object that is needed here.
type listed struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
}

// appendPage reads a list object by object, and adds their names. from is where the
// next page begins; empty: there is none.
func appendPage(names []string, page io.Reader) (_ []string, from string, err error) {
	d := json.NewDecoder(page)
	if err := expect(d, '{'); err != nil {
		return nil, "", err
	}
	whole := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, "", err
		}
		switch key {
		case "metadata":
			var m struct {
				Continue string `json:"continue"`
			}
			if err := d.Decode(&m); err != nil {
				return nil, "", err
			}
			from = m.Continue
		case "items":
			if names, err = appendItems(names, d); err != nil {
				return nil, "", err
			}
			whole = true
		default:
			var ignored json.RawMessage
			if err := d.Decode(&ignored); err != nil {
				return nil, "", err
			}
		}
	}
	if err := expect(d, '}'); err != nil {
		return nil, "", err
	}
	if !whole {
		return nil, "", errors.New("the answer has no items")
	}
	return names, from, nil
}

// appendItems reads the array of a list's objects, which is null where there are none.
func appendItems(names []string, d *json.Decoder) ([]string, error) {
	begin, err := d.Token()
	if err != nil || begin == nil {
		return names, err
	}
	if begin != json.Delim('[') {
		return nil, fmt.Errorf("%v where a list was expected", begin)
	}
	for d.More() {
		var one listed
		if err := d.Decode(&one); err != nil {
			return nil, err
		}
		if len(names) >= maxNodes {
			return nil, fmt.Errorf("there are more than %d", maxNodes)
		}
		names = append(names, one.Metadata.Name)
	}
	return names, expect(d, ']')
}

// expect reads a bracket.
func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v where %v was expected", got, want)
	}
	return nil
}
