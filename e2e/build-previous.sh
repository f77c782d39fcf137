#!/bin/sh
# Builds p2pd and the scheduler of the version before this one, whose commit is in
# the file `previous`, once, and prints the folder that they are in:
# ${P2PD_CACHE:-~/.cache/p2pd}/previous-COMMIT/bin. What is tried with them is that
# two versions work together (docs/upgrade.md). A checkout without its history, and
# nowhere to fetch it from, ends it with 3.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${P2PD_CACHE:-${HOME:?set P2PD_CACHE or HOME}/.cache/p2pd}
commit=$(grep -xE '[0-9a-f]{40}' "$here/previous")
dir=$cache/previous-$commit

if [ ! -d "$dir/bin" ]; then
	cd "$here/.."
	# A clone may be shallow, and belong to another user than root.
	git() { command git -c safe.directory='*' "$@"; }
	if ! git cat-file -e "$commit^{commit}" 2>/dev/null && ! git fetch -q --depth=1 origin "$commit" 2>/dev/null; then
		echo "commit $commit, the version before this one (e2e/previous), is not in this clone; run 'git fetch --unshallow', or 'git fetch origin $commit'" >&2
		exit 3
	fi
	mkdir -p "$cache"
	tmp=$(mktemp -d "$cache/previous-build-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT INT TERM
	echo "building the version before this one (once)" >&2
	mkdir "$tmp/src" "$tmp/done"
	git archive --output="$tmp/src.tar" "$commit"
	tar -xf "$tmp/src.tar" -C "$tmp/src"
	(cd "$tmp/src" && GOFLAGS=-buildvcs=false go build -o "$tmp/done/bin/" ./cmd/p2pd ./cmd/scheduler) >&2
	mv -T "$tmp/done" "$dir" 2>/dev/null || [ -d "$dir/bin" ]
fi
echo "$dir/bin"
