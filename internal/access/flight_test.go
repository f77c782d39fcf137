package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
)

// hanging is an Origin that answers nothing, and remembers how many questions
// were with it at most.
type hanging struct {
	mu        sync.Mutex // guards what follows
	now, most int
}

func (h *hanging) Ask(ctx context.Context, _ Caller, _ Question) (Found, error) {
	h.mu.Lock()
	h.now++
	h.most = max(h.most, h.now)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.now--
	h.mu.Unlock()
	return Found{}, ctx.Err()
}

// As many clients as the mirror takes ask a registry that hangs, each with a
// credential of its own, and give up; again and again. What is left of them is
// what is at the registry.
func TestNobodysQuestionsLeaveTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(hanging)
		g, err := NewGate(Config{Origin: registry})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			var wg sync.WaitGroup
			for i := range maxQueued {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					asked := Asked{private, []secret.Value{secret.New(fmt.Sprintf("Bearer client-%d-%d", i, round))}}
					if _, _, err := g.Resolve(ctx, asked, "v1"); err == nil {
						t.Error("a registry that hangs has answered")
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			g.flights.mu.Lock()
			running, queued := len(g.flights.running), g.flights.queued
			g.flights.mu.Unlock()
			if running > defaultMaxProofs || queued != 0 {
				t.Fatalf("round %d: nobody waits any more for %d questions, %d of them queued", round, running, queued)
			}
		}
		time.Sleep(2 * defaultProofTimeout)
		synctest.Wait()
		if registry.now != 0 || registry.most != defaultMaxProofs {
			t.Errorf("%d questions are at the registry still, %d were at most; want 0 and %d", registry.now, registry.most, defaultMaxProofs)
		}
	})
}

// A question that had its turn late is given the same time at its registry as
// others before it goes on without anybody.
func TestTheQueueIsNoTimeAtTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(1)
		free := make(chan struct{})
		first, err := f.join(t.Context(), flightKey{question: Question{Tag: "first"}}, func(context.Context) (Found, error) {
			<-free
			return Found{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer f.leave(first)
		synctest.Wait()
		var ended error
		second, err := f.join(t.Context(), flightKey{question: Question{Tag: "second"}}, func(ctx context.Context) (Found, error) {
			<-ctx.Done()
			ended = ctx.Err()
			return Found{}, ended
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lateFrom) // in the queue
		close(free)
		time.Sleep(lateFrom / 2) // at the registry
		f.leave(second)
		synctest.Wait()
		if !errors.Is(ended, context.Canceled) {
			t.Errorf("it goes on: %v", ended)
		}
	})
}

// The queue has an end. Who finds it full is told so, and what is known of old
// counts as it does while a registry is down.
func TestAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{MaxProofs: 1}, onlyFor(""))
		if _, _, err := b.Resolve(t.Context(), by(), "v1"); err != nil { // stands for index
			t.Fatal(err)
		}
		b.now = b.now.Add(2 * MaxTTL)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 1 + maxQueued {
			fl, err := b.flights.join(ctx, flightKey{question: Question{Tag: fmt.Sprint(i)}}, func(ctx context.Context) (Found, error) {
				<-ctx.Done()
				return Found{}, ctx.Err()
			})
			if err != nil {
				t.Fatalf("question %d: %v", i, err)
			}
			defer b.flights.leave(fl)
			if i == 0 {
				synctest.Wait() // it has its turn: all others are in the queue
			}
		}
		if _, err := b.Admit(ctx, by(), Manifest, index); err != nil {
			t.Errorf("what was public a while ago: %v", err)
		}
		if _, err := b.Admit(ctx, by(), Manifest, layer); !errors.Is(err, errCrowded) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("what nothing is known of: %v, want %v", err, errCrowded)
		}
		cancel()
	})
}
