package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

func (c *cli) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "Show and change what this node's p2pd holds",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.cacheLsCommand(), c.verifyCommand(), c.pruneCommand(), c.rmCommand())
	return cmd
}

func (c *cli) cacheLsCommand() *cobra.Command {
	return c.watching(&cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List blobs, the most recently used first",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			cl, err := c.p2pd()
			if err != nil {
				return err
			}
			return c.show(cmd, func(ctx context.Context) (shown, error) {
				var list api.CacheList
				err := cl.get(ctx, "/cache", nil, &list)
				t := cacheTable(list.Items)
				t.title = fmt.Sprintf("%s of %s", bytesText(list.StoreBytes), bytesText(list.StoreCapacity))
				if c.noHeaders {
					t.title = ""
				}
				t.none = "the store is empty"
				return shown{value: &list, names: cacheNames(list.Items), tables: []table{t}}, err
			})
		}),
	})
}

func cacheNames(items []api.CacheEntry) (names []string) {
	for _, e := range items {
		names = append(names, "blob/"+e.Digest)
	}
	return names
}

func cacheTable(items []api.CacheEntry) table {
	t := table{columns: []column{left("DIGEST"), right("SIZE"), left("WHERE"), left("WHOLE"), left("IN USE"), left("SPARE"), right("LAST USED"), wide("FULL DIGEST")}}
	for _, e := range items {
		used := "-"
		if e.LastUsed != nil {
			used = since(*e.LastUsed) + " ago"
		}
		t.rows = append(t.rows, []string{shortDigest(e.Digest), bytesText(e.Size), e.Where, yes(e.Whole), yes(e.InUse), yes(e.Spare), used, e.Digest})
	}
	return t
}

// heldDigest is the digest of a blob that the node holds, named in full or by
// the first digits of it.
func (cl *client) heldDigest(ctx context.Context, text string) (string, error) {
	return named(text, "p2pctl cache ls", func(string) (all []string, err error) {
		var list api.CacheList
		err = cl.get(ctx, "/cache", nil, &list)
		for _, e := range list.Items {
			all = append(all, e.Digest)
		}
		return all, err
	})
}

func (c *cli) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify [DIGEST...]", Short: "Read blobs again and check their digests",
		Long: `Read blobs of the store again and check their digests; without DIGEST all whole ones. A
damaged blob is removed, and fetched again when a client asks for it. It reads as fast as
the disk allows. The exit code is 1 if a blob was damaged.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("timeout") {
				c.timeout = time.Hour // it reads all that there is
			}
			cl, err := c.p2pd()
			if err != nil {
				return err
			}
			var ask api.VerifyRequest
			for _, a := range args {
				d, err := cl.heldDigest(cmd.Context(), a)
				if err != nil {
					return err
				}
				ask.Digests = append(ask.Digests, d)
			}
			var found api.VerifyResult
			if err := cl.do(cmd.Context(), http.MethodPost, "/cache/verify", ask, &found); err != nil {
				return err
			}
			if err := c.print(cmd.OutOrStdout(), verified(colours(cmd.OutOrStdout()), &found)); err != nil {
				return err
			}
			for _, v := range found.Items {
				if !v.OK {
					return foundError{errors.New("not all blobs are good"), true}
				}
			}
			return nil
		}),
	}
}

func verified(p palette, found *api.VerifyResult) shown {
	s := shown{value: found}
	t := table{none: "there is nothing to read", columns: []column{left("DIGEST"), right("SIZE"), left("RESULT")}}
	for _, v := range found.Items {
		s.names = append(s.names, "blob/"+v.Digest)
		result := p.good("ok")
		if !v.OK {
			result = p.bad(v.Message)
		}
		t.rows = append(t.rows, []string{shortDigest(v.Digest), bytesText(v.Size), result})
	}
	s.tables = []table{t, line(fmt.Sprintf("%d blobs, %s read, %d damaged", len(found.Items), bytesText(found.Bytes), found.Damaged))}
	return s
}

func (c *cli) pruneCommand() *cobra.Command {
	var ask api.PruneRequest
	var all bool
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove blobs from the store",
		Long: `Remove blobs that are not in use from p2pd's own store. p2pd makes room by itself when it
needs it, so this is for disks that other programs need. Choose what to remove with --all,
--unused-for, --spare or --partial; several of them together remove what matches all of them.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			if !all && ask.UnusedFor == "" && !ask.Spare && !ask.Partial {
				return usage("say what is to go: --all, --unused-for, --spare or --partial; --dry-run only shows it")
			}
			cl, err := c.p2pd()
			if err != nil {
				return err
			}
			var gone api.PruneResult
			if err := cl.do(cmd.Context(), http.MethodPost, "/cache/prune", ask, &gone); err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), goneShown(&gone))
		}),
	}
	fs := cmd.Flags()
	fs.BoolVar(&all, "all", false, "all that are not in use")
	fs.StringVar(&ask.UnusedFor, "unused-for", "", "those not used for this `long`, such as 24h")
	fs.BoolVar(&ask.Spare, "spare", false, "those that containerd holds too")
	fs.BoolVar(&ask.Partial, "partial", false, "those that are not whole")
	fs.BoolVar(&ask.DryRun, "dry-run", false, "remove nothing, show what would be removed")
	return cmd
}

func (c *cli) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm DIGEST...", Short: "Remove blobs from the store by name",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			cl, err := c.p2pd()
			if err != nil {
				return err
			}
			all := api.PruneResult{Meta: api.Of("PruneResult"), Items: []api.CacheEntry{}}
			for _, a := range args {
				d, err := cl.heldDigest(cmd.Context(), a)
				if err != nil {
					return err
				}
				var gone api.PruneResult
				if err := cl.do(cmd.Context(), http.MethodDelete, "/cache/"+d, nil, &gone); err != nil {
					return err
				}
				all.Items = append(all.Items, gone.Items...)
				all.Bytes += gone.Bytes
			}
			return c.print(cmd.OutOrStdout(), goneShown(&all))
		}),
	}
}

func goneShown(gone *api.PruneResult) shown {
	t := cacheTable(gone.Items)
	t.none = "nothing is to go"
	did := "removed"
	if gone.DryRun {
		did = "would be removed"
	}
	sum := fmt.Sprintf("%d blobs, %s, %s", len(gone.Items), bytesText(gone.Bytes), did)
	if gone.InUse > 0 {
		sum += fmt.Sprintf("; %d are in use and stay", gone.InUse)
	}
	return shown{value: gone, names: cacheNames(gone.Items), tables: []table{t, line(sum)}}
}
