package ctl

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

const (
	// bundleFileMost bounds one file of a bundle.
	bundleFileMost = 8 << 20
	// bundleStories bounds the stories in it, the latest first.
	bundleStories = 200
)

// bundle is a support bundle while it is written.
type bundle struct {
	ctx  context.Context
	tar  *tar.Writer
	now  time.Time
	lost []string // what could not be had, and why
	n    int
}

func (c *cli) bundleCommand() *cobra.Command {
	var out, configs, certs string
	var metrics []string
	cmd := &cobra.Command{
		Use: "support-bundle", Short: "Gather diagnostics into one file, without secrets",
		Long: `Write a tar.gz with the state of the scheduler and of this node's p2pd: swarms, peers,
downloads, cache, the history of recent pulls, and metrics. It also holds their
configuration and containerd's hosts.toml files, with everything that looks like a secret
struck out. Read it before you pass it on: it names images, hosts and addresses.

A program that does not answer is left out, and named in errors.txt.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			if out == "" {
				out = "p2pd-support-" + now.UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			z := gzip.NewWriter(f)
			b := &bundle{ctx: cmd.Context(), tar: tar.NewWriter(z), now: now}
			err = errors.Join(c.fill(b, configs, certs, metrics), b.tar.Close(), z.Close(), f.Close())
			if err != nil {
				return errors.Join(err, os.Remove(out))
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d files; %d things could not be had, see errors.txt in it\n", b.n, len(b.lost))
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		}),
	}
	fs := cmd.Flags()
	fs.StringVarP(&out, "file", "f", "", "where to write it; the file must not exist")
	fs.StringVar(&configs, "config-dir", "/etc/p2pd", "`folder` with the configuration of scheduler and p2pd")
	fs.StringVar(&certs, "certs-dir", "/etc/containerd/certs.d", "`folder` with containerd's hosts.toml files")
	fs.StringSliceVar(&metrics, "metrics", []string{"http://127.0.0.1:7303/metrics", "http://127.0.0.1:7311/metrics"}, "`addresses` of metrics")
	return cmd
}

// fill gathers all there is. It fails only if the bundle cannot be written.
func (c *cli) fill(b *bundle, configs, certs string, metrics []string) error {
	steps := []func() error{
		func() error { return b.text("version.txt", "p2pctl "+version()+"\n") },
		func() error { return c.fillScheduler(b) },
		func() error { return c.fillNode(b) },
		func() error { return b.folder("config", configs, ".yaml") },
		func() error { return b.folder("certs.d", certs, ".toml") },
	}
	for i, url := range metrics {
		steps = append(steps, func() error { return b.fetch(c.timeout, fmt.Sprintf("metrics-%d.txt", i+1), url) })
	}
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return b.text("errors.txt", strings.Join(b.lost, "\n")+"\n")
}

func (c *cli) fillScheduler(b *bundle) error {
	cl, err := c.scheduler()
	if err != nil {
		b.missing("scheduler", err)
		return nil
	}
	var st api.Status
	if err := cl.get(b.ctx, "/status", nil, &st); err != nil {
		b.missing("scheduler", err)
		return nil
	}
	swarms, err := cl.swarms(b.ctx, false, 10000)
	b.missing("scheduler/swarms.json", err)
	peers, err := cl.peers(b.ctx, 10000)
	b.missing("scheduler/peers.json", err)
	return errors.Join(b.json("scheduler/status.json", st), b.json("scheduler/swarms.json", swarms), b.json("scheduler/peers.json", peers))
}

func (c *cli) fillNode(b *bundle) error {
	cl, err := c.p2pd()
	if err != nil {
		b.missing("node", err)
		return nil
	}
	var list api.ExplanationList
	for path, into := range map[string]any{"/status": &api.Status{}, "/downloads": &api.DownloadList{}, "/cache": &api.CacheList{}, "/explain": &list} {
		if err := cl.get(b.ctx, path, nil, into); err != nil {
			b.missing("node"+path, err)
			if _, absent := errors.AsType[*unreachableError](err); absent {
				return nil
			}
			continue
		}
		if err := b.json("node"+path+".json", into); err != nil {
			return err
		}
	}
	var all []api.Explanation
	for _, e := range list.Items[:min(len(list.Items), bundleStories)] {
		var one api.Explanation
		err := cl.get(b.ctx, "/explain", map[string][]string{"name": {e.Name}}, &one)
		b.missing("the story of "+e.Name, err)
		if err == nil {
			all = append(all, one)
		}
	}
	return b.json("node/stories.json", all)
}

// missing remembers what could not be had, if err says that something was not.
func (b *bundle) missing(what string, err error) {
	if err != nil {
		b.lost = append(b.lost, what+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

func (b *bundle) json(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return b.text(name, string(text)+"\n")
}

// text adds a file. All that enters a bundle goes through here, and loses what
// looks like a secret.
func (b *bundle) text(name, text string) error {
	text = redact(text)
	if err := b.tar.WriteHeader(&tar.Header{Name: "p2pd-support/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: b.now}); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if _, err := io.WriteString(b.tar, text); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	b.n++
	return nil
}

// folder adds the files of a folder whose names end so.
func (b *bundle) folder(name, dir, ext string) error {
	var failed error
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ext {
			b.missing(path, err)
			return nil
		}
		text, err := readSome(path)
		if err != nil {
			b.missing(path, err)
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		failed = b.text(name+"/"+filepath.ToSlash(rel), text)
		return failed
	})
	if failed == nil {
		b.missing(dir, err)
	}
	return failed
}

func readSome(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, bundleFileMost))
	return string(text), err
}

// fetch adds a page of this machine.
func (b *bundle) fetch(within time.Duration, name, url string) error {
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return usage("--metrics: %w", err)
	}
	cl := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} //nolint:forbidigo // what the operator names
	res, err := cl.Do(r)
	if err != nil {
		b.missing(url, err)
		return nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, bundleFileMost))
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	if err != nil {
		b.missing(url, err)
		return nil
	}
	return b.text(name, string(text))
}
