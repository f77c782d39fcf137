package ctl

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// imageSwarms are an image's blobs, with the swarm of each.
type imageSwarms struct {
	api.Meta
	Image  string      `json:"image"`
	Digest string      `json:"digest"` // what its name stands for
	Items  []blobSwarm `json:"items"`
	// Size is of all of it, Bytes what members have received of it.
	Size  int64     `json:"size"`
	Bytes api.Bytes `json:"bytes"`
}

// blobSwarm is one blob of an image. Swarm is absent while no connected peer
// holds or wants it.
type blobSwarm struct {
	part
	Swarm *api.Swarm `json:"swarm,omitempty"`
}

// isImage reports whether an argument, of which most are digests or the first
// digits of one, is an image: written with a registry, a tag or a digest.
func isImage(s string) bool {
	return strings.ContainsAny(s, "/:@") && !strings.HasPrefix(s, "sha256:")
}

// showImage shows the swarms of an image. The registry is asked once, the
// scheduler each time.
func (c *cli) showImage(cmd *cobra.Command, cl *client, image string, reg *registry) error {
	ref, err := reg.parse(image)
	if err != nil {
		return err
	}
	parts, err := reg.parts(cmd.Context(), ref)
	if err != nil {
		return fmt.Errorf("what layers %s has, the registry does not tell: %w; p2pctl swarm ls lists swarms by their digests", image, registryTrouble(ref, err))
	}
	parts = parts[:min(len(parts), storiesMost)]
	return c.show(cmd, func(ctx context.Context) (shown, error) {
		all, err := cl.swarmsOf(ctx, image, parts)
		return imageShown(all), err
	})
}

// swarmsOf asks for the swarms of an image's blobs.
func (cl *client) swarmsOf(ctx context.Context, image string, parts []part) (*imageSwarms, error) {
	all := &imageSwarms{Meta: api.Of("ImageSwarms"), Image: image, Digest: parts[0].Digest}
	for _, p := range parts {
		one := blobSwarm{part: p}
		d, err := cl.swarm(ctx, p.Digest, 1)
		switch {
		case isStatus(err, http.StatusNotFound):
		case err != nil:
			return nil, err
		default:
			one.Swarm = &d.Swarm
			all.Bytes.Peers += d.Bytes.Peers
			all.Bytes.Origin += d.Bytes.Origin
		}
		all.Size += max(0, p.Size)
		all.Items = append(all.Items, one)
	}
	return all, nil
}

func imageShown(all *imageSwarms) shown {
	s := shown{value: all}
	if all == nil {
		return s
	}
	t := table{title: fmt.Sprintf("%s (%s)", all.Image, all.Digest), columns: []column{
		left("WHAT"), left("DIGEST"), right("SIZE"), right("MEMBERS"), right("SEEDS"), right("PROGRESS"), right("LEASES"),
		{name: "FREE", wide: true, right: true}, right("FROM PEERS"), right("FROM ORIGIN"), right("COPIES"),
	}}
	for _, b := range all.Items {
		row := []string{b.What, shortDigest(b.Digest), bytesText(b.Size)}
		if w := b.Swarm; w != nil {
			s.names = append(s.names, "swarm/"+b.Digest)
			row = append(row, strconv.Itoa(w.Members), strconv.Itoa(w.Seeds), shareText(w.Progress, 1), strconv.Itoa(w.Leases), strconv.Itoa(w.FreePieces),
				bytesText(w.Bytes.Peers), bytesText(w.Bytes.Origin), copiesText(w.Bytes.Origin, b.Size))
		} else {
			row = append(row, "-", "-", "-", "-", "-", "-", "-", "-")
		}
		t.rows = append(t.rows, row)
	}
	s.tables = []table{t, line(fmt.Sprintf("%s in all; members have %s from peers and %s from the registry (%s)",
		bytesText(all.Size), bytesText(all.Bytes.Peers), bytesText(all.Bytes.Origin), copies(all.Bytes.Origin, all.Size)))}
	if len(s.names) == 0 {
		s.tables = append(s.tables, line("no connected peer holds or wants anything of it"))
	}
	return s
}

// copiesText is how often the registry gave each byte; a dash where that is not
// known.
func copiesText(origin, size int64) string {
	if size <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(origin)/float64(size))
}
