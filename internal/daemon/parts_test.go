package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded are parts that note in log when they end.
func recorded(log chan<- string, names ...string) []part {
	var parts []part
	for _, name := range names {
		parts = append(parts, part{name, func(ctx context.Context) error {
			<-ctx.Done()
			log <- name
			return nil
		}})
	}
	return parts
}

func drain(log chan string) []string {
	close(log)
	var all []string
	for name := range log {
		all = append(all, name)
	}
	return all
}

func TestPartsEndTheLastFirst(t *testing.T) {
	log := make(chan string, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runParts(ctx, recorded(log, "a", "b", "c")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, drain(log)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestAPartThatFailsEndsAll(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct{ gives, want error }{{broken, broken}, {nil, errEnded}} {
		log := make(chan string, 2)
		parts := append(recorded(log, "a", "b"), part{"bad", func(context.Context) error { return tt.gives }})
		err := runParts(t.Context(), parts)
		if !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "bad: ") {
			t.Errorf("error %v, want %v of bad", err, tt.want)
		}
		if diff := cmp.Diff([]string{"b", "a"}, drain(log)); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	}
}

// What fails while it is being ended is told as well.
func TestAPartThatFailsToEnd(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := runParts(ctx, []part{{"bad", func(ctx context.Context) error { <-ctx.Done(); return broken }}})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
