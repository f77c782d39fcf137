#!/bin/sh
# Builds the programs that the end-to-end tests run beside p2pd once, and
# prints the folder that they are in.
#
#   build-tools.sh              containerd, ctr, its shim and the registry, at the versions of tools/go.mod
#   build-tools.sh containerd17 the same containerd programs of the 1.7 line, at that of containerd17/go.mod
#   build-tools.sh cripull      a client of CRI, for pulls as a kubelet makes them
#   build-tools.sh helm         helm
#   build-tools.sh chart        what holds rendered charts against Kubernetes' types
#   build-tools.sh k8s          Kubernetes' own programs and etcd
#   build-tools.sh prometheus   promtool, for the alert rules
#   build-tools.sh coredns      the DNS server of a cluster
#   build-tools.sh policies     what enforces network policies on a node
#
# The folder is ${P2PD_CACHE:-~/.cache/p2pd}/e2e-MODULE-KEY/bin, where KEY
# follows the modules' checksums, the module's own sources and Go's version, so
# that a new version is a new folder. A first build takes minutes, any later
# call a moment.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${P2PD_CACHE:-${HOME:?set P2PD_CACHE or HOME}/.cache/p2pd}
module=${1:-tools}
case $module in
	tools | containerd17 | helm | k8s | coredns | prometheus) what=tool ;; # every tool directive of its go.mod
	cripull | chart | policies) what=. ;;
	*)
		echo "usage: ${0##*/} [tools | containerd17 | cripull | helm | chart | k8s | coredns | policies | prometheus]" >&2
		exit 2
		;;
esac

cd "$here/$module"
flags='-s -w' tags=''
[ "$module" != prometheus ] || tags=remove_all_sd # a fifth of its packages are for finding targets in clouds
if [ "$module" = k8s ]; then # without it clients take it for version 0
	version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	flags="$flags -X k8s.io/component-base/version.gitVersion=$version"
	flags="$flags -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)"
fi
key=$( (cat go.sum; find . -name '*.go' | sort | xargs cat </dev/null; go version) | sha256sum | cut -c1-16)
dir=$cache/e2e-$module-$key

if [ ! -d "$dir/bin" ]; then
	mkdir -p "$cache"
	# Built beside its place and renamed: an interrupted build leaves no
	# half-filled folder, and two at once don't disturb each other.
	tmp=$(mktemp -d "$cache/e2e-$module-build-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT INT TERM
	echo "building the programs of e2e/$module (once, some minutes)" >&2
	mkdir "$tmp/bin"
	CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -tags "$tags" -ldflags "$flags" -o "$tmp/bin/" "$what" >&2
	mv -T "$tmp" "$dir" 2>/dev/null || [ -d "$dir/bin" ]
fi
echo "$dir/bin"
