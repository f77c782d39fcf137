package ctl

import (
	"context"

	"github.com/spf13/cobra"
)

// listing is a command without arguments that shows one answer of a program as a
// table: what GET path returns, once or with --watch.
func listing[T any](c *cli, cmd *cobra.Command, from func() (*client, error), path string, rows func(palette, *T) shown) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = cobra.NoArgs, cobra.NoFileCompletions
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		cl, err := from()
		if err != nil {
			return err
		}
		p := colours(cmd.OutOrStdout())
		return c.show(cmd, func(ctx context.Context) (shown, error) {
			var answer T
			err := cl.get(ctx, path, nil, &answer)
			return rows(p, &answer), err
		})
	})
	return c.watching(cmd)
}

// listOf is the command ls of what the scheduler lists at path.
func listOf[T any](c *cli, short, path string, rows func(palette, *T) shown) *cobra.Command {
	return listing(c, &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: short}, c.scheduler, path, rows)
}
