package ctl

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// storiesMost bounds what of one image is explained: more layers than containers
// can have.
const storiesMost = 160

// stories are what is told of an image: its tag, its manifest, its blobs.
type stories struct {
	api.Meta
	Items []api.Explanation `json:"items"`
	// Waterfall is when each blob began to arrive and was whole.
	Waterfall []fall `json:"waterfall"`
}

func (c *cli) explainCommand() *cobra.Command {
	var reg registry
	cmd := &cobra.Command{
		Use: "explain [DIGEST|IMAGE]", Short: "Explain a pull on this node: sources, waits, decisions, refusals",
		Long: `Explain what happened to a blob or an image on this node, as far as p2pd remembers: when it
was asked for, which peers the scheduler introduced, which reads from the registry were
granted and why, how many bytes each source sent, waits, refusals and what to do about them.

DIGEST may be shortened to its first digits. For an IMAGE, its tag, manifest and layers are
explained, after a waterfall of when each arrived; the registry is asked for the list of its
layers. Without an argument, all blobs and tags that can be explained are listed.`,
		Example: `  p2pctl explain
  p2pctl explain 4f53cda18c2b
  p2pctl explain registry.example/app:1.2`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.p2pd()
			if err != nil {
				return err
			}
			p := colours(cmd.OutOrStdout())
			switch {
			case len(args) == 0:
				var list api.ExplanationList
				if err := cl.get(cmd.Context(), "/explain", nil, &list); err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), explainedShown(&list))
			case isDigest(args[0]):
				e, err := cl.explain(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), storyShown(p, e))
			}
			all, err := cl.explainImage(cmd, args[0], &reg)
			if err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), storiesShown(p, all))
		}),
	}
	reg.flags(cmd)
	return cmd
}

// isDigest reports whether an argument is a digest or the beginning of one. An
// image of so odd a name can be written with its registry.
func isDigest(s string) bool {
	hex, marked := strings.CutPrefix(s, "sha256:")
	return isPrefix(hex) && (marked || len(hex) >= 8)
}

// explain is the story of one blob.
func (cl *client) explain(ctx context.Context, text string) (*api.Explanation, error) {
	hex := strings.TrimPrefix(text, "sha256:")
	if len(hex) < digits {
		var list api.ExplanationList
		if err := cl.get(ctx, "/explain", nil, &list); err != nil {
			return nil, err
		}
		var found []string
		for _, e := range list.Items {
			if strings.HasPrefix(e.Name, "sha256:"+hex) {
				found = append(found, strings.TrimPrefix(e.Name, "sha256:"))
			}
		}
		var err error
		if hex, err = only(text, found, "p2pctl explain lists what is remembered"); err != nil {
			return nil, err
		}
	}
	var e api.Explanation
	return &e, cl.get(ctx, "/explain/sha256:"+hex, nil, &e)
}

// explainImage is the stories of an image's tag, manifest and blobs; of those
// there are.
func (cl *client) explainImage(cmd *cobra.Command, image string, reg *registry) (*stories, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, usage("%q is neither a digest nor an image: %w", image, err)
	}
	all := &stories{Meta: api.Of("ExplanationList"), Items: []api.Explanation{}}
	var names []string
	if tag, is := ref.(name.Tag); is {
		names = append(names, containerdName(tag))
	} else {
		names = append(names, ref.Identifier())
	}
	blobs, err := reg.parts(cmd.Context(), ref)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "the registry does not tell what layers %s has (%v); explain them by their digests\n", image, err)
	}
	for _, b := range blobs {
		if b.Digest != names[0] {
			names = append(names, b.Digest)
		}
	}
	for _, n := range names[:min(len(names), storiesMost)] {
		var e api.Explanation
		err := cl.get(cmd.Context(), "/explain", url.Values{"name": {n}}, &e)
		if isStatus(err, 404) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all.Items = append(all.Items, e)
	}
	if len(all.Items) == 0 {
		return nil, fmt.Errorf("p2pd remembers nothing of %s: it was not asked for it since it started. Is containerd told to ask it? p2pd setup does that, p2pctl check says", image)
	}
	all.Waterfall = fallsOf(all.Items)
	return all, nil
}

// containerdName is a tag as p2pd remembers it, with the host that containerd
// names.
func containerdName(tag name.Tag) string {
	host := tag.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	return host + "/" + tag.RepositoryStr() + ":" + tag.TagStr()
}

func explainedShown(list *api.ExplanationList) shown {
	s := shown{value: list}
	t := table{none: "p2pd was asked for nothing since it started", columns: []column{left("NAME"), right("LAST"), left("WHAT"), left("HOW")}}
	for _, e := range list.Items {
		s.names = append(s.names, e.Name)
		shortName := e.Name
		if strings.HasPrefix(shortName, "sha256:") {
			shortName = shortDigest(shortName)
		}
		t.rows = append(t.rows, []string{shortName, since(e.Last.At) + " ago", e.Last.Kind, e.Last.Text})
	}
	s.tables = []table{t}
	return s
}

func storiesShown(p palette, all *stories) shown {
	s := shown{value: all}
	if len(all.Waterfall) > 1 {
		s.tables = append(s.tables, waterfall(p, all.Waterfall, time.Now()))
	}
	for i := range all.Items {
		one := storyShown(p, &all.Items[i])
		s.names = append(s.names, one.names...)
		s.tables = append(s.tables, one.tables...)
	}
	return s
}

func storyShown(p palette, e *api.Explanation) shown {
	t := table{title: e.Name, columns: []column{left("  TIME"), right("AFTER"), left("WHAT"), left("HOW")}}
	var began time.Time
	for i, one := range e.Entries {
		if i == 0 {
			began = one.At
		}
		text := one.Text
		if one.Times > 1 {
			text += fmt.Sprintf(" (%d times, the last one %s later)", one.Times, one.Last.Sub(one.At).Round(time.Millisecond))
		}
		t.rows = append(t.rows, []string{"  " + one.At.Local().Format("15:04:05.000"), one.At.Sub(began).Round(time.Millisecond).String(), kindText(p, one.Kind), text})
	}
	s := shown{value: e, names: []string{e.Name}, tables: []table{t}}
	if e.Dropped > 0 {
		s.tables = append(s.tables, line(fmt.Sprintf("  %d events in the middle are forgotten", e.Dropped)))
	}
	if d := e.Download; d != nil {
		s.tables = append(s.tables, line(fmt.Sprintf("  it is arriving: %d of %d pieces, for %s; p2pctl downloads shows from whom", d.Have, d.Pieces, whom(d))))
	}
	if len(e.Given) > 0 {
		total := int64(0)
		for _, g := range e.Given {
			total += g.Bytes
		}
		g := table{columns: []column{left("  FROM"), right("BYTES"), right("SHARE")}}
		for _, one := range e.Given {
			from := one.From
			if len(from) > 10 {
				from = "peer " + shortPeer(from)
			}
			g.rows = append(g.rows, []string{"  " + from, bytesText(one.Bytes), shareText(float64(one.Bytes), float64(total))})
		}
		s.tables = append(s.tables, g)
	}
	return s
}

// line is a table of one sentence.
func line(text string) table {
	return table{bare: true, columns: []column{left("")}, rows: [][]string{{text}}}
}

func kindText(p palette, kind string) string {
	switch kind {
	case "complete":
		return p.good(kind)
	case "failed", "refused", "false":
		return p.bad(kind)
	case "waiting", "blamed", "parted":
		return p.warn(kind)
	}
	return kind
}
