package ctl

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docsCommand writes the reference: a Markdown file a command. It is for those
// who build p2pctl.
func docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs FOLDER", Short: "Write the reference of p2pctl", Hidden: true,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := WriteReference(args[0]); err != nil {
				return failedError{err}
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "written to", args[0])
			return nil
		},
	}
}

// WriteReference writes a Markdown file for each command into a folder. What it
// writes depends on nothing but the code.
func WriteReference(folder string) error {
	for _, name := range []string{"P2PD_SERVER", "P2PD_NODE", "P2PD_TOKEN_FILE"} {
		if os.Getenv(name) != "" {
			return fmt.Errorf("%s is set, and would be the default in the reference; unset it", name)
		}
	}
	root := Command("p2pctl")
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	if err := doc.GenMarkdownTree(root, folder); err != nil {
		return fmt.Errorf("write the reference: %w", err)
	}
	return nil
}
