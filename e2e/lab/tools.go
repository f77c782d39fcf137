package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are the built programs under test, and the tools beside them.
type Programs struct {
	P2PD      string
	Scheduler string
	P2PCtl    string
	// Tools is the folder with registry, containerd, ctr and the shim.
	Tools string
}

// FaultsTag is the build tag of programs that can be made to misbehave. Build gives them a
// wall clock that can be set (Clock), too.
const FaultsTag = "p2pd_faults"

// Build builds p2pd, the scheduler and p2pctl from the module around the working
// directory into dir, with build tags if any, and the tools once for all runs.
func Build(ctx context.Context, dir string, tags ...string) (Programs, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return Programs{}, err
	}
	// go build -o needs the separator to see a folder that may not exist yet.
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if len(tags) > 0 {
		args = append(args, "-tags", strings.Join(tags, ","))
	}
	if slices.Contains(tags, FaultsTag) {
		overlay, remove, err := clockOverlay(ctx)
		if err != nil {
			return Programs{}, err
		}
		defer remove()
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/p2pd", "./cmd/scheduler", "./cmd/p2pctl")...)
	cmd.Dir = root
	if _, err := output(cmd); err != nil {
		return Programs{}, err
	}
	tools, err := run(ctx, filepath.Join(root, "e2e", "build-tools.sh"))
	if err != nil {
		return Programs{}, err
	}
	return Programs{
		P2PD: filepath.Join(dir, "p2pd"), Scheduler: filepath.Join(dir, "scheduler"), P2PCtl: filepath.Join(dir, "p2pctl"),
		Tools: strings.TrimSpace(tools),
	}, nil
}

// ErrNoHistory is Previous's where the checkout has no history that goes back so far.
var ErrNoHistory = errors.New("the version before this one is not to be had")

// noHistory is how e2e/build-previous.sh says so.
const noHistory = 3

// Previous are the p2pd and the scheduler of the version before, built once for all
// runs out of the repository's history, with p's other programs.
func (p Programs) Previous(ctx context.Context) (Programs, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return Programs{}, err
	}
	dir, err := run(ctx, filepath.Join(root, "e2e", "build-previous.sh"))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == noHistory {
		return Programs{}, fmt.Errorf("%w: %w", ErrNoHistory, err)
	}
	if err != nil {
		return Programs{}, err
	}
	dir = strings.TrimSpace(dir)
	p.P2PD, p.Scheduler = filepath.Join(dir, "p2pd"), filepath.Join(dir, "scheduler")
	return p, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	mod, err := run(ctx, "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	mod = strings.TrimSpace(mod)
	if !strings.HasSuffix(mod, "go.mod") {
		return "", errors.New("run this inside the checkout: the programs under test are built from it")
	}
	return filepath.Dir(mod), nil
}
