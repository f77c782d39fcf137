package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"sync/atomic"
	"syscall"

	"github.com/p2pd/p2pd/internal/metrics"
)

// On SIGHUP p2pd reads its configuration again, from the same sources, and takes
// the limits and the log level from it. All else needs a restart.

// reload is what it takes to do that, and what came of it. Without read nobody
// reloads.
type reload struct {
	read           func() (NodeConfig, error)
	level          *slog.LevelVar
	taken, refused atomic.Int64
}

// ReloadOnHangup has Run follow SIGHUP. read makes a configuration anew, and
// validates it; level is that of the node's logger.
func (n *Node) ReloadOnHangup(level *slog.LevelVar, read func() (NodeConfig, error)) {
	n.reload.read, n.reload.level = read, level
}

// followHangups reloads until ctx ends.
func (n *Node) followHangups(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			n.readAgain()
		case <-ctx.Done():
			return nil
		}
	}
}

// readAgain takes over what may change. A configuration that is no good changes
// nothing.
func (n *Node) readAgain() {
	c, err := n.reload.read()
	if err != nil {
		n.reload.refused.Add(1)
		n.log.Error("the configuration is no good now; what was in force stays", "err", err)
		return
	}
	n.reload.taken.Add(1)
	n.reload.level.Set(c.Log.level())
	n.limits.apply(c.Limits, n.log)
	n.log.Info("configuration read again", "upload", n.limits.upload.Rate(), "download", n.limits.download.Rate(), "level", c.Log.Level)
	was := n.cfg
	was.Limits, was.Log.Level = c.Limits, c.Log.Level
	if !reflect.DeepEqual(was, c) {
		n.log.Warn("more has changed in the configuration than limits and log.level; for the rest p2pd must be restarted")
	}
}

func (r *reload) metrics() []metrics.Metric {
	return []metrics.Metric{{Name: "p2pd_config_reloads_total", Help: "Times that the configuration was read again, by whether it was taken over.", Samples: []metrics.Sample{
		metrics.By("outcome", "taken", r.taken.Load()), metrics.By("outcome", "refused", r.refused.Load()),
	}}}
}
