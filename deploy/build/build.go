// Package build compiles the project's programs as they are shipped: static,
// and the same bytes from the same sources.
package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Compile builds the program cmd/NAME for a platform, as linux/arm64, into the
// file to. It works in the module around the working directory, which must be
// the module's root.
func Compile(ctx context.Context, name, platform, to string) error {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("platform %q is not OS/ARCHITECTURE, as linux/amd64", platform)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags=-s -w -buildid=", "-o", to, "./cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", platform, err, out)
	}
	return nil
}
