#!/bin/sh
# Builds the programs that the end-to-end tests run beside p2pd (containerd,
# ctr, its shim and the registry, at the versions of e2e/tools/go.mod) once,
# and prints the folder that they are in.
#
# The folder is ${P2PD_CACHE:-~/.cache/p2pd}/e2e-tools-KEY/bin, where KEY
# follows the modules' checksums and Go's version, so that a new version is a
# new folder. A first build takes minutes, any later call a moment.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${P2PD_CACHE:-${HOME:?set P2PD_CACHE or HOME}/.cache/p2pd}
key=$( (cat "$here/tools/go.sum"; cd "$here/tools" && go version) | sha256sum | cut -c1-16)
dir=$cache/e2e-tools-$key

if [ ! -d "$dir/bin" ]; then
	mkdir -p "$cache"
	# Built beside its place and renamed: an interrupted build leaves no
	# half-filled folder, and two at once don't disturb each other.
	tmp=$(mktemp -d "$cache/e2e-tools-build-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT INT TERM
	echo "building containerd, ctr, the shim and the registry (once, some minutes)" >&2
	mkdir "$tmp/bin"
	(cd "$here/tools" &&
		CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o "$tmp/bin/" tool) >&2
	mv -T "$tmp" "$dir" 2>/dev/null || [ -d "$dir/bin" ]
fi
echo "$dir/bin"
