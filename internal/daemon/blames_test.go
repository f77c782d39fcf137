package daemon

import (
	"bytes"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What members' blames lead to holds here and is told to nobody; that an operator takes it
// back is told.
func TestBlamesStayWithTheirScheduler(t *testing.T) {
	t.Parallel()
	h := &Hub{bans: &member.Bans{}}
	h.expelled(scheduler.Expel{Peer: "liar", For: time.Minute, Reason: "two blame it"})
	if h.bans.Check("liar", time.Now()) == nil {
		t.Error("it may come in")
	}
	if text := h.news(false); text != nil {
		t.Errorf("other schedulers are told: %s", text)
	}
	h.bans.Lift("liar", time.Now())
	if text := h.news(false); !bytes.Contains(text, []byte(`"blamed":true`)) {
		t.Errorf("other schedulers are not told that an operator lets it in: %s", text)
	}
}
