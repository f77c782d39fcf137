#!/usr/bin/env bash
# Installs what tests and demo need of the system, on Debian and its kin as
# root by apt; elsewhere it says what is missing. Does nothing where all of it
# is there.
#
#   install-deps.sh              everything but what single targets of make need
#   install-deps.sh COMMAND...   these only, for instance gcc
set -euo pipefail

# command: the packages that bring it
declare -A needs=(
  [containerd]=containerd
  [runc]=runc
  [ip]=iproute2
  [tc]=iproute2
  [sysctl]=procps
  [nft]=nftables
  [busybox]=busybox-static
  [gcc]='gcc libc6-dev' # the race detector is linked by it
)
wanted=("$@")
[ $# -gt 0 ] || wanted=("${!needs[@]}")
needs[nginx]=nginx-light # for bench-node, to be compared with
# The network of a cluster's pods, for e2e-k8s.
needs[iptables]=iptables
needs[/usr/lib/cni/bridge]=containernetworking-plugins
needs[openssl]=openssl # its guide has the reader make a certificate
# Machines that deb and rpm packages are installed on, for e2e-packages.
needs[debootstrap]=debootstrap
needs[systemd-nspawn]=systemd-container
needs[rpm]=rpm
needs[groff]=groff-base
needs[qemu-aarch64]=qemu-user # to run what packages for the other architecture have
needs[qemu-x86_64]=qemu-user
needs[chromium]='chromium fonts-dejavu-core' # for test-page
needs[npm]=npm                                # it fetches axe-core, for test-page
needs[tmux]=tmux                              # a terminal beside the page, for test-page
# Clients of the mirror besides containerd, for e2e-clients.
needs[skopeo]=skopeo
needs[podman]=podman
needs[dockerd]=docker.io

export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for command in "${wanted[@]}"; do
  packages=${needs[$command]:?is not a command that is known here}
  # shellcheck disable=SC2206 # several packages are several words
  command -v "$command" >/dev/null || missing+=($packages)
done
# The demo's images hold busybox and nothing else, so it must be a static one.
if [[ " ${wanted[*]} " = *" busybox "* ]] && busybox=$(command -v busybox) && command -v ldd >/dev/null && ldd "$busybox" >/dev/null 2>&1; then
  missing+=(busybox-static)
fi
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}. Install these packages (on Debian, as root: apt-get install ${missing[*]})" >&2
  exit 1
fi

echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "apt-get could not install ${missing[*]}" >&2
  exit 1
fi
