#!/usr/bin/env bash
# Builds pinned tools once for each go.sum and Go version, and prints the folder
# that they are in: ${P2PD_CACHE:-~/.cache/p2pd}/MODULE-KEY/bin. A first build
# takes minutes, any later call a moment.
#
#   build.sh           the linter and the protobuf compilers of tools/go.mod
#   build.sh packages  what makes deb and rpm packages, of tools/packages/go.mod
#   build.sh workflows what reads the forge's workflow files, of tools/workflows/go.mod
#   build.sh release   goreleaser, of tools/release/go.mod (a first build takes many minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

module=tools
case ${1:-} in
  '') ;;
  packages | workflows | release) module=tools-$1; cd "$1" ;;
  *) echo "usage: ${0##*/} [packages | workflows | release]" >&2; exit 2 ;;
esac

key=$({ cat go.mod go.sum; go version; } | sha256sum | cut -c1-16)
cache=${P2PD_CACHE:-$HOME/.cache/p2pd}
dir=$cache/$module-$key

if [ ! -d "$dir/bin" ]; then
  mkdir -p "$cache"
  # Built beside its place and renamed, so that an interrupted build leaves
  # nothing that looks complete.
  tmp=$(mktemp -d "$cache/$module-build-XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mkdir "$tmp/bin"
  echo "building the programs of $module (once, some minutes)" >&2
  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o "$tmp/bin/" tool >&2
  mv -T "$tmp" "$dir" 2>/dev/null || [ -d "$dir/bin" ]
fi
echo "$dir/bin"
