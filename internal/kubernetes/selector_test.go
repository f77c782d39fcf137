package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// nodeItem is a node as such a list has it, with as much about its fields.
func nodeItem(name string, about int) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"uid":"u","labels":{"gpu":"true"},"managedFields":[{"fieldsV1":%q}]}}`, name, strings.Repeat("f", about))
}

// A list comes in pages, in any order of its keys, and may be larger than other
// answers.
func TestNodesWith(t *testing.T) {
	const selector = "gpu=true,disk in (ssd,nvme),!spot"
	const all = 1201
	about := 2 * maxAnswer / pageOf
	pages := 0
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/nodes" || q.Get("labelSelector") != selector || q.Get("limit") != strconv.Itoa(pageOf) ||
			r.Header.Get("Accept") != "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" || r.Header.Get("Authorization") != "Bearer the-schedulers-own" {
			t.Errorf("asked %s %s as %s", r.Method, r.URL, r.Header.Get("Accept"))
		}
		if q.Has("continue") != (pages > 0) || pages > 0 && q.Get("continue") != fmt.Sprint("after+", pages) {
			t.Errorf("page %d is asked for by %q", pages, q.Get("continue"))
		}
		pages++
		var items []string
		for i := (pages - 1) * pageOf; i < min(pages*pageOf, all); i++ {
			items = append(items, nodeItem(fmt.Sprint("worker-", all-i), about))
		}
		next := ""
		if pages*pageOf < all {
			next = fmt.Sprintf(`"continue":"after+%d","remainingItemCount":1,`, pages)
		}
		parts := []string{`"kind":"PartialObjectMetadataList"`, `"metadata":{` + next + `"resourceVersion":"7"}`, `"items":[` + strings.Join(items, ",") + `]`}
		if pages == 2 {
			slices.Reverse(parts)
		}
		_, _ = io.WriteString(w, "{"+strings.Join(parts, ",")+"}")
	})
	names, err := c.NodesWith(t.Context(), selector)
	if err != nil || pages != 3 || len(names) != all || !slices.IsSorted(names) || len(slices.Compact(names)) != all {
		t.Errorf("%d pages, %d names, %v", pages, len(names), err)
	}
}

func TestNoNodesWith(t *testing.T) {
	for name, items := range map[string]string{"an empty list": "[]", "nothing": "null"} {
		c := server(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"metadata":{},"items":`+items+`}`)
		})
		if names, err := c.NodesWith(t.Context(), "gpu"); len(names) != 0 || err != nil {
			t.Errorf("%s: %v, %v", name, names, err)
		}
	}
}

// What the API server says of a selector, and of who asks, is told as it is; an answer
// that is no list is not taken for an empty one.
func TestNodesWithout(t *testing.T) {
	for name, one := range map[string]struct {
		status int
		answer string
		says   string
		code   int
	}{
		"a bad selector": {400, `{"kind":"Status","status":"Failure","message":"unable to parse requirement: found '', expected: '('","reason":"BadRequest","code":400}`, "unable to parse requirement: found '', expected: '('", 400},
		"not allowed":    {403, `{"kind":"Status","message":"nodes is forbidden: User \"x\" cannot list resource \"nodes\""}`, `nodes is forbidden: User "x" cannot list resource "nodes"`, 403},
		"overloaded":     {429, `{"message":"too many requests"}`, "too many requests", 429},
		"not there":      {404, `{"message":"no such path"}`, "no such path", 0},
		"no list":        {200, `{"metadata":{}}`, "no items", 0},
		"not JSON":       {200, `<html>`, "invalid character", 0},
		"an array":       {200, `[]`, "expected", 0},
		"cut short":      {200, `{"items":[` + nodeItem("worker-1", 10) + `,`, "EOF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(one.status)
				_, _ = io.WriteString(w, one.answer)
			})
			names, err := c.NodesWith(t.Context(), "gpu in")
			if _, unsure := errors.AsType[UnsureError](err); !unsure || names != nil || !strings.Contains(err.Error(), one.says) {
				t.Fatalf("got %v, %v", names, err)
			}
			answer, refused := errors.AsType[*AnswerError](err)
			if refused != (one.code != 0) || refused && (answer.HTTPStatus() != one.code || answer.Error() != one.says) {
				t.Errorf("the answer within is %+v", answer)
			}
		})
	}
}

func TestTooManyNodesWith(t *testing.T) {
	page := 0
	c := server(t, func(w http.ResponseWriter, _ *http.Request) {
		page++
		_, _ = io.WriteString(w, `{"metadata":{"continue":"more"},"items":[`+strings.Repeat(nodeItem("worker", 0)+",", pageOf-1)+nodeItem("worker", 0)+`]}`)
	})
	if _, err := c.NodesWith(t.Context(), "gpu"); err == nil || !strings.Contains(err.Error(), "more than 50000") || page != maxNodes/pageOf+1 {
		t.Errorf("after %d pages: %v", page, err)
	}
}
