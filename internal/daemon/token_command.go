package daemon

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/member"
)

// tokenCommand is "token" of both programs; keyFile says where the key is.
func tokenCommand(keyFile func() (string, error)) *cobra.Command {
	var life time.Duration
	cmd := &cobra.Command{
		Use: "token", Short: "Print a token that lets nodes join the cluster", Args: cobra.NoArgs,
		Long: `token prints a join token, made with the cluster's key; it creates that key if there is none. Put the
token into a file on each node that only p2pd can read, and name the file in membership.tokenFile.
(p2pd has this command for nodes with an embedded scheduler.) The token's ID goes to standard error:
list it in membership.refuseTokens to revoke the token.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := keyFile()
			if err != nil {
				return err
			}
			if err := printToken(cmd.OutOrStdout(), cmd.ErrOrStderr(), file, life); err != nil {
				return runError{err}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&life, "ttl", 0, "how long the token lets nodes join; 0: it does not expire")
	return cmd
}

func printToken(out, notes io.Writer, file string, life time.Duration) error {
	if life < 0 {
		return fmt.Errorf("--ttl %s is negative; use 24h or so, or 0 for good", life)
	}
	key, _, err := member.OpenKey(file)
	if err != nil {
		return err
	}
	var until time.Time
	if life > 0 {
		until = time.Now().Add(life)
	}
	t, err := key.Mint(until)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, t.Reveal())
	if until.IsZero() {
		fmt.Fprintf(notes, "%s, good until it is refused\n", t)
	} else {
		fmt.Fprintf(notes, "%s, good until %s\n", t, until.UTC().Format(time.RFC3339))
	}
	return nil
}

// pinCommand is "pin" of both programs.
func pinCommand(keyFile func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: "pin [CERTIFICATE]", Short: "Print the cluster's public key", Args: cobra.MaximumNArgs(1),
		Long: `pin prints the public half of the cluster's key, for membership.clusterKeyFile of nodes whose tokens
do not contain it; or the public key of the certificate in a file. It is not a secret.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				p, err := member.ReadPublic(args[0])
				if err != nil {
					return runError{err}
				}
				fmt.Fprintln(cmd.OutOrStdout(), p)
				return nil
			}
			file, err := keyFile()
			if err != nil {
				return err
			}
			key, _, err := member.OpenKey(file)
			if err != nil {
				return runError{err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), key.Public())
			return nil
		},
	}
}
