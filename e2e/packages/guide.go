package packages

import (
	"fmt"
	"os"
	"strings"
)

// Guide returns the blocks of shell commands of a Markdown file by the headings
// that they stand below.
func Guide(file string) (map[string][]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	blocks := make(map[string][]string)
	var heading string
	var block *strings.Builder
	for line := range strings.Lines(string(text)) {
		switch {
		case block != nil && strings.HasPrefix(line, "```"):
			blocks[heading] = append(blocks[heading], block.String())
			block = nil
		case block != nil:
			block.WriteString(line)
		case strings.HasPrefix(line, "```sh"):
			block = new(strings.Builder)
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	if block != nil {
		return nil, fmt.Errorf("%s: a block of commands below %q does not end", file, heading)
	}
	return blocks, nil
}
