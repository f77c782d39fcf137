#!/bin/sh
# Fetches axe-core, which looks for barriers on web pages (WCAG), once, at the
# version and with the checksum of package-lock.json, and prints its file. It is
# run by tests only, and no part of what is shipped.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${P2PD_CACHE:-${HOME:?set P2PD_CACHE or HOME}/.cache/p2pd}
dir=$cache/e2e-axe-$(sha256sum "$here/package-lock.json" | cut -c1-16)

if [ ! -d "$dir" ]; then
	mkdir -p "$cache"
	# Made beside its place and renamed: an interrupted run leaves nothing that
	# looks complete.
	tmp=$(mktemp -d "$cache/e2e-axe-build-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT INT TERM
	cp "$here/package.json" "$here/package-lock.json" "$tmp"
	(cd "$tmp" && npm ci --ignore-scripts --no-audit --no-fund >&2)
	mv -T "$tmp" "$dir" 2>/dev/null || [ -d "$dir" ]
fi
echo "$dir/node_modules/axe-core/axe.min.js"
