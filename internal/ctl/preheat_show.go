package ctl

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/p2pd/p2pd/internal/api"
)

func preheatsShown(p palette, list *api.PreheatList) shown {
	s := shown{value: list}
	t := table{none: "there are no preheat jobs", columns: []column{
		left("JOB"), left("IMAGE"), left("STATE"), right("NODES"), right("DONE"), right("FAILED"), right("PROGRESS"), right("AGE"),
		wide("INTO"), wide("SCOPE"), wide("SCHEDULER"), wide("ERROR"),
	}}
	for i := range list.Items {
		j := &list.Items[i]
		s.names = append(s.names, preheatName(j))
		t.rows = append(t.rows, []string{
			strconv.FormatInt(j.ID, 10), j.Image, p.preheatState(j.State), strconv.Itoa(j.Nodes), strconv.Itoa(j.Done), strconv.Itoa(j.Failed),
			shareText(float64(j.Bytes), float64(j.OfAll)), since(j.Created), dash(j.Into), scopeText(j), dash(j.Scheduler), dash(j.Error),
		})
	}
	s.tables = []table{t}
	return s
}

func preheatName(j *api.Preheat) string { return "preheat/" + strconv.FormatInt(j.ID, 10) }

// scopeText is how many nodes a job asked for.
func scopeText(j *api.Preheat) string {
	switch {
	case j.Percentage > 0:
		return fmt.Sprintf("%d%%", j.Percentage)
	case j.Count > 0:
		return strconv.Itoa(j.Count)
	case j.Scope == api.PreheatZone:
		return "one a zone"
	}
	return j.Scope
}

func preheatShown(p palette, j *api.Preheat) shown {
	s := shown{value: j, names: []string{preheatName(j)}}
	platforms := "each node's own"
	if len(j.Platforms) > 0 {
		platforms = strings.Join(j.Platforms, " ")
	}
	head := table{title: preheatName(j), bare: true, columns: []column{left(""), left("")}, rows: [][]string{
		{"  image", j.Image},
		{"  digest", dash(j.Digest)},
		{"  platforms", platforms},
		{"  into", j.Into},
		{"  nodes", fmt.Sprintf("%d (%s): %d done, %d failed; %s of %s", j.Nodes, scopeText(j), j.Done, j.Failed, bytesText(j.Bytes), bytesText(j.OfAll))},
		{"  state", p.preheatState(j.State)},
	}}
	if j.Selector != "" {
		head.rows = append(head.rows, []string{"  selector", j.Selector})
	}
	if j.Error != "" {
		head.rows = append(head.rows, []string{"  why", j.Error})
	}
	head.rows = append(head.rows, []string{"  since", since(j.Created)})
	if j.Ended != nil {
		head.rows = append(head.rows, []string{"  took", ageText(j.Ended.Sub(j.Created))})
	}
	s.tables = []table{head}
	if len(j.NodeItems) == 0 {
		return s
	}
	t := table{columns: []column{left("NODE"), left("ZONE"), left("STATE"), right("BLOBS"), right("BYTES"), right("PROGRESS"), wide("PEER"), wide("ADDRESS"), left("ERROR")}}
	for _, n := range j.NodeItems {
		name := n.Node
		if name == "" {
			name = shortPeer(n.Peer)
		}
		t.rows = append(t.rows, []string{
			name, dash(n.Zone), p.preheatState(n.State), fmt.Sprintf("%d/%d", n.Blobs, n.OfBlobs), bytesText(n.Bytes), shareText(float64(n.Bytes), float64(n.OfBytes)),
			n.Peer, dash(n.Address), dash(n.Error),
		})
	}
	s.tables = append(s.tables, t)
	return s
}

// preheatState colours the state of a job or of a node.
func (p palette) preheatState(state string) string {
	switch state {
	case api.PreheatSucceeded, api.PreheatDone:
		return p.good(state)
	case api.PreheatFailed:
		return p.bad(state)
	case api.PreheatCancelled:
		return p.warn(state)
	}
	return state
}

// progress shows how far a job is: a bar that moves on a terminal, else a line for
// each tenth.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
}

const barWidth = 30

func (b *progress) show(j *api.Preheat) {
	share := 0.0
	if j.OfAll > 0 {
		share = float64(j.Bytes) / float64(j.OfAll)
	}
	filled := int(share * barWidth)
	line := fmt.Sprintf("%s  %s  %s of %s  %d of %d nodes done", strings.Repeat("█", filled)+strings.Repeat("·", barWidth-filled),
		shareText(share, 1), bytesText(j.Bytes), bytesText(j.OfAll), j.Done, j.Nodes)
	if j.Nodes == 0 && j.Ended == nil {
		line = "the image is being looked up"
	}
	key := fmt.Sprint(int(share*10), j.Done, j.Failed, j.State)
	if b.terminal {
		fmt.Fprint(b.w, "\r\x1b[K"+line)
	} else if key != b.last {
		fmt.Fprintln(b.w, line)
	}
	b.last = key
}

// end leaves the line.
func (b *progress) end() {
	if b.terminal {
		fmt.Fprintln(b.w)
	}
}
