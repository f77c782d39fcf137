package origin

import (
	"context"
	"net/http"
	"testing"
)

// At most so many handshakes are remembered: those that were used last.
func TestAccessesAreBounded(t *testing.T) {
	c := newAccesses(2)
	made := make(map[string]int)
	use := func(repo string) {
		t.Helper()
		a, err := c.get(t.Context(), accessKey{endpoint: "https://r", repo: repo}, func(context.Context) (*http.Client, error) {
			made[repo]++
			return &http.Client{}, nil
		})
		if err != nil || a.client == nil {
			t.Fatalf("%v", err)
		}
	}
	for _, repo := range []string{"a", "b", "a", "c", "a", "b"} { // c drives b out, then b drives c
		use(repo)
	}
	if made["a"] != 1 || made["b"] != 2 || made["c"] != 1 || len(c.items) != 2 || c.order.Len() != 2 {
		t.Errorf("made %v; %d remembered", made, len(c.items))
	}
}

// To forget an access that has been replaced leaves the new one alone.
func TestForgetOnlyItself(t *testing.T) {
	c := newAccesses(2)
	key := accessKey{endpoint: "https://r", repo: "a"}
	dial := func(context.Context) (*http.Client, error) { return &http.Client{}, nil }
	old, err := c.get(t.Context(), key, dial)
	if err != nil {
		t.Fatal(err)
	}
	c.forget(old)
	fresh, err := c.get(t.Context(), key, dial)
	if err != nil || fresh == old {
		t.Fatalf("%v", err)
	}
	c.forget(old)
	if again, err := c.get(t.Context(), key, dial); err != nil || again != fresh {
		t.Errorf("%v", err)
	}
}
