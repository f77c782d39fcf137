package lab

import (
	"context"
	"strings"
)

// DiscardingMode is the newest containerd with discard_unpacked_layers, as
// some distributions set it: after a pull it keeps no layer but the unpacked
// one. CRI then pulls by itself, for the transfer service cannot do that.
func (p Programs) DiscardingMode(ctx context.Context) (PullMode, error) {
	newest, err := p.BuiltRuntime(ctx)
	if err != nil {
		return PullMode{}, err
	}
	return PullMode{
		Name: newest.Version + "-discard", Runtime: newest,
		config: strings.Replace(criConfig2, "use_local_image_pull = false", "use_local_image_pull = true\n    discard_unpacked_layers = true", 1),
	}, nil
}
