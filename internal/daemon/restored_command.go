package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/kubernetes"
)

const (
	// restoredLook is how often the API server is asked.
	restoredLook = time.Second
	// restoredPatience is for how long no further node may be done: a pod of an image
	// that lies on its node starts within seconds, and so does a kubelet that was started
	// anew. That each node of a large cluster takes its turn costs no patience.
	restoredPatience = time.Minute
)

// restoredCommand is "await-restored", for the chart: the hook that runs when the
// release is gone. Who types commands has no use for it.
func restoredCommand() *cobra.Command {
	return &cobra.Command{
		Use: "await-restored NAMESPACE/DAEMONSET", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Wait until a DaemonSet of p2pd restore is through on each node, and delete it",
		Long: `await-restored waits in a pod until each node has a ready pod of a DaemonSet, each of which has run
p2pd restore, and deletes the DaemonSet. When no further node gets one for a minute it fails, and leaves
the DaemonSet: nodes that are down do their part when they come back.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, name, ok := strings.Cut(args[0], "/")
			if !ok || namespace == "" || name == "" {
				return fmt.Errorf("%q is not NAMESPACE/DAEMONSET", args[0])
			}
			c, err := kubernetes.InCluster()
			if err != nil {
				return runError{err}
			}
			err = awaitRestored(cmd.Context(), cmd.OutOrStdout(), func(ctx context.Context) (kubernetes.DaemonSet, error) {
				return c.DaemonSet(ctx, namespace, name)
			})
			if err != nil {
				return runError{fmt.Errorf("%w; DaemonSet %s stays, and does the rest once it can: see its pods, and delete it then", err, args[0])}
			}
			if err := c.DeleteDaemonSet(cmd.Context(), namespace, name); err != nil {
				return runError{err}
			}
			return nil
		},
	}
}

// awaitRestored returns when all nodes are done, or when none was for a while.
func awaitRestored(ctx context.Context, out io.Writer, ask func(context.Context) (kubernetes.DaemonSet, error)) error {
	most, last := -1, time.Now()
	for {
		d, err := ask(ctx)
		if err == nil && d.Counted {
			if d.Ready > most {
				most, last = d.Ready, time.Now()
				fmt.Fprintf(out, "restored on %d of %d nodes\n", d.Ready, d.Nodes)
			}
			if d.Ready >= d.Nodes {
				return nil
			}
		}
		switch {
		case time.Since(last) < restoredPatience:
		case err != nil:
			return err
		default:
			return fmt.Errorf("restored on %d of %d nodes, and on no other for %s", d.Ready, d.Nodes, restoredPatience)
		}
		select {
		case <-time.After(restoredLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
