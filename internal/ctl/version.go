package ctl

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// versions is what p2pctl version answers. Those that do not answer are absent.
type versions struct {
	api.Meta
	Client    string `json:"client"`
	Go        string `json:"go"`
	Scheduler string `json:"scheduler,omitempty"`
	Node      string `json:"node,omitempty"`
}

func (c *cli) versionCommand() *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of p2pctl, the scheduler and this node's p2pd",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			v := versions{Meta: api.Of("Versions"), Client: version(), Go: runtime.Version()}
			rows := [][]string{{"p2pctl", v.Client}}
			for _, one := range []struct {
				name   string
				client func() (*client, error)
				into   *string
			}{{"scheduler", c.scheduler, &v.Scheduler}, {"p2pd", c.p2pd, &v.Node}} {
				if own {
					continue
				}
				says, err := c.versionOf(cmd, one.client)
				if err != nil {
					return err
				}
				*one.into = says
				if says == "" {
					says = "does not answer here"
				}
				rows = append(rows, []string{one.name, says})
			}
			return c.print(cmd.OutOrStdout(), shown{value: v, names: []string{v.Client}, tables: []table{{bare: true, columns: []column{left(""), left("")}, rows: rows}}})
		}),
	}
	cmd.Flags().BoolVar(&own, "client", false, "only that of p2pctl")
	return cmd
}

// versionOf asks a program; "" if it does not answer.
func (c *cli) versionOf(cmd *cobra.Command, who func() (*client, error)) (string, error) {
	cl, err := who()
	if err != nil {
		return "", err
	}
	var st api.Status
	err = cl.get(cmd.Context(), "/status", nil, &st)
	if _, absent := errors.AsType[*unreachableError](err); absent {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", cl.of.name, err)
	}
	return st.Version, nil
}
