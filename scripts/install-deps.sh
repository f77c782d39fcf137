#!/usr/bin/env bash
# Installs what the end-to-end tier and the demo need of the system: on Debian
# and its kin, as root, by apt. Does nothing where all of it is there.
set -euo pipefail

# command: the package that brings it
declare -A needs=(
  [containerd]=containerd
  [runc]=runc
  [ip]=iproute2
  [tc]=iproute2
  [nft]=nftables
  [busybox]=busybox-static
)

export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for command in "${!needs[@]}"; do
  command -v "$command" >/dev/null || missing+=("${needs[$command]}")
done
# The demo's images hold busybox and nothing else, so it must be a static one.
if busybox=$(command -v busybox) && command -v ldd >/dev/null && ldd "$busybox" >/dev/null 2>&1; then
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
