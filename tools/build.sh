#!/usr/bin/env bash
# Builds the tools that tools/go.mod pins, once for each tools/go.sum and Go
# version, and prints the folder that they are in:
# ${P2PD_CACHE:-~/.cache/p2pd}/tools-KEY/bin. A first build takes minutes, any
# later call a moment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

key=$({ cat go.mod go.sum; go version; } | sha256sum | cut -c1-16)
cache=${P2PD_CACHE:-$HOME/.cache/p2pd}
dir=$cache/tools-$key

if [ ! -d "$dir/bin" ]; then
  mkdir -p "$cache"
  # Built beside its place and renamed, so that an interrupted build leaves
  # nothing that looks complete.
  tmp=$(mktemp -d "$cache/tools-build-XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mkdir "$tmp/bin"
  echo "building golangci-lint, buf and the protobuf plugins (once, some minutes)" >&2
  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o "$tmp/bin/" tool >&2
  mv -T "$tmp" "$dir" 2>/dev/null || [ -d "$dir/bin" ]
fi
echo "$dir/bin"
