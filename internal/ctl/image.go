package ctl

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

const (
	// layerLarge is a layer that a node needs long for, and that changes whole.
	layerLarge = 1 << 30
	// layersMany is where the cost of each layer begins to count: a request, a
	// swarm, and an unpacking that waits for the one before.
	layersMany = 60
)

// analysis is what p2pctl image analyze answers.
type analysis struct {
	api.Meta
	Images []analysed `json:"images"`
	// Sharing is there for two images.
	Sharing  *sharing  `json:"sharing,omitempty"`
	Findings []finding `json:"findings"`
}

// analysed is one image.
type analysed struct {
	Name     string  `json:"name"`
	Digest   string  `json:"digest"` // of the index or manifest that the name stands for
	Platform string  `json:"platform"`
	User     string  `json:"user"` // that its process runs as
	Bytes    int64   `json:"bytes"`
	Layers   []layer `json:"layers"`
}

// layer is one of an image's, the lowest first.
type layer struct {
	Digest string `json:"digest"`
	DiffID string `json:"diffID"`
	Size   int64  `json:"size"`
	// CreatedBy is the step that made it, as the image tells.
	CreatedBy string `json:"createdBy"`
	// Shared: the other image has it too.
	Shared bool `json:"shared"`
}

// sharing is what two images have in common.
type sharing struct {
	Layers int   `json:"layers"`
	Bytes  int64 `json:"bytes"`
	// NewBytes is what a node that has the first image fetches for the second.
	NewBytes int64 `json:"newBytes"`
	// Broken says what ended the sharing; empty if nothing did.
	Broken string `json:"broken,omitempty"`
}

// finding is something about an image that could be better.
type finding struct {
	Image   string `json:"image"`
	What    string `json:"what"` // a word for programs
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func (c *cli) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "Inspect images in their registries",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.analyzeCommand())
	return cmd
}

func (c *cli) analyzeCommand() *cobra.Command {
	var reg registry
	var strict bool
	cmd := &cobra.Command{
		Use: "analyze IMAGE [NEXT]", Short: "The layers of an image, what the next one shares with it, and what could be better",
		Long: `Show the layers of an image as its registry has it. With a second image, say how many
bytes a node that has the first must fetch for the second, and why layers are not shared.

The registry is asked with the credentials that docker login keeps.`,
		Example: `  p2pctl image analyze registry.example/app:1.2
  p2pctl image analyze registry.example/app:1.2 registry.example/app:1.3 --strict`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			a, err := reg.analyze(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := c.print(cmd.OutOrStdout(), analysisShown(colours(cmd.OutOrStdout()), a)); err != nil {
				return err
			}
			if strict && len(a.Findings) > 0 {
				return foundError{fmt.Errorf("%d findings", len(a.Findings)), true}
			}
			return nil
		}),
	}
	reg.flags(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 if there is a finding")
	return cmd
}

func (r *registry) analyze(ctx context.Context, images []string) (*analysis, error) {
	a := &analysis{Meta: api.Of("ImageAnalysis"), Findings: []finding{}}
	for _, image := range images {
		ref, err := r.parse(image)
		if err != nil {
			return nil, err
		}
		img, index, err := r.image(ctx, ref)
		if err != nil {
			return nil, err
		}
		one, err := analyse(image, r.platform, index, img)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", image, err)
		}
		a.Images = append(a.Images, one)
		a.Findings = append(a.Findings, findings(ref, &one)...)
	}
	if len(a.Images) == 2 {
		a.Sharing = compare(&a.Images[0], &a.Images[1])
	}
	return a, nil
}

func analyse(image, platform string, index v1.Hash, img v1.Image) (analysed, error) {
	one := analysed{Name: image, Digest: index.String(), Platform: platform, Layers: []layer{}}
	m, err := img.Manifest()
	if err != nil {
		return one, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return one, err
	}
	one.User = cfg.Config.User
	steps := make([]string, 0, len(m.Layers))
	for _, h := range cfg.History {
		if !h.EmptyLayer {
			steps = append(steps, step(h.CreatedBy))
		}
	}
	for i, l := range m.Layers {
		l := layer{Digest: l.Digest.String(), Size: l.Size}
		if i < len(cfg.RootFS.DiffIDs) {
			l.DiffID = cfg.RootFS.DiffIDs[i].String()
		}
		if i < len(steps) {
			l.CreatedBy = steps[i]
		}
		one.Bytes += l.Size
		one.Layers = append(one.Layers, l)
	}
	return one, nil
}

// step is a line of a Dockerfile as people know it.
func step(s string) string {
	s = strings.TrimPrefix(s, "/bin/sh -c ")
	s = strings.TrimPrefix(s, "#(nop) ")
	return strings.Join(strings.Fields(strings.TrimSuffix(s, "# buildkit")), " ")
}

// findings are what could be better about one image.
func findings(ref name.Reference, a *analysed) (fs []finding) {
	add := func(what, hint, format string, args ...any) {
		fs = append(fs, finding{Image: a.Name, What: what, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if _, byTag := ref.(name.Tag); byTag {
		add("not-pinned", "deploy "+ref.Context().Name()+"@"+a.Digest, "it is named by a tag, which can stand for another image tomorrow")
	}
	switch user, _, _ := strings.Cut(a.User, ":"); user {
	case "":
		add("runs-as-root", "USER with a number other than 0 in its Dockerfile", "it names no user, so that its process is root unless the pod says otherwise")
	case "0", "root":
		add("runs-as-root", "USER with a number other than 0 in its Dockerfile", "its process is root")
	}
	for i, l := range a.Layers {
		if l.Size >= layerLarge {
			add("large-layer", "split what changes often from what does not", "layer %d has %s, and is fetched whole when anything in it changes", i+1, bytesText(l.Size))
		}
	}
	if n := len(a.Layers); n > layersMany {
		add("many-layers", "join steps that change together", "it has %d layers, and each costs a request and is unpacked after the one before", n)
	}
	return fs
}

// compare says what the next image shares with one, and marks the layers.
func compare(one, next *analysed) *sharing {
	s := &sharing{}
	has := make(map[string]bool)
	for _, l := range one.Layers {
		has[l.Digest] = true
	}
	common := make(map[string]bool)
	for i := range next.Layers {
		l := &next.Layers[i]
		if l.Shared = has[l.Digest]; l.Shared {
			common[l.Digest] = true
			s.Layers++
			s.Bytes += l.Size
		} else {
			s.NewBytes += l.Size
		}
	}
	for i := range one.Layers {
		one.Layers[i].Shared = common[one.Layers[i].Digest]
	}
	s.Broken = broken(one, next)
	return s
}

// broken is the first layer in which two images differ, and what came of it.
func broken(one, next *analysed) string {
	for i := range next.Layers {
		l := next.Layers[i]
		if i >= len(one.Layers) || l.Digest == one.Layers[i].Digest {
			continue
		}
		old := one.Layers[i]
		why := fmt.Sprintf("from layer %d on they differ", i+1)
		switch {
		case l.DiffID != "" && l.DiffID == old.DiffID:
			why += ": its content is the same, but it was compressed anew; push with the same builder, or reuse the layer's blob"
		case l.CreatedBy != "" && l.CreatedBy == old.CreatedBy:
			why += fmt.Sprintf(": the same step (%s) gave other files, as times or package versions do", l.CreatedBy)
		case l.CreatedBy != "":
			why += fmt.Sprintf(": the step is another one (%s)", l.CreatedBy)
		}
		rest := int64(0)
		for _, later := range next.Layers[i+1:] {
			if !later.Shared {
				rest += later.Size
			}
		}
		if rest > 0 {
			why += fmt.Sprintf("; %s in layers above it are new as well: put steps that change often last", bytesText(rest))
		}
		return why
	}
	return ""
}

func analysisShown(p palette, a *analysis) shown {
	s := shown{value: a}
	for i := range a.Images {
		one := &a.Images[i]
		s.names = append(s.names, "image/"+one.Digest)
		title := fmt.Sprintf("%s\n  %s, %s, %s in %d layers, runs as %s", one.Name, one.Digest, one.Platform, bytesText(one.Bytes), len(one.Layers), userText(one.User))
		t := table{title: title, columns: []column{right("#"), left("LAYER"), right("SIZE"), left("SHARED"), left("MADE BY")}, none: "it has no layers"}
		for k, l := range one.Layers {
			shared := "-"
			if l.Shared {
				shared = p.good("yes")
			}
			t.rows = append(t.rows, []string{fmt.Sprint(k + 1), shortDigest(l.Digest), bytesText(l.Size), shared, clip(l.CreatedBy, 80)})
		}
		s.tables = append(s.tables, t)
	}
	if sh := a.Sharing; sh != nil {
		total := sh.Bytes + sh.NewBytes
		text := fmt.Sprintf("the second shares %d layers with the first: %s of %s (%s); %s are to be fetched", sh.Layers, bytesText(sh.Bytes), bytesText(total), shareText(float64(sh.Bytes), float64(total)), bytesText(sh.NewBytes))
		if sh.Broken != "" {
			text += "\n" + p.warn(sh.Broken)
		}
		s.tables = append(s.tables, line(text))
	}
	for _, f := range a.Findings {
		s.tables = append(s.tables, line(fmt.Sprintf("%s %s: %s\n  %s", p.warn("!"), f.Image, f.Message, f.Hint)))
	}
	return s
}

func userText(user string) string {
	if user == "" {
		return "root (none is named)"
	}
	return user
}

// clip shortens what is too long for a table.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return dash(s)
}
