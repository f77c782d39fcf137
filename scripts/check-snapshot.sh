#!/usr/bin/env bash
# Fails unless a release lies in dist/ and bin/packages: an archive of the nodes'
# programs and one of p2pctl for each platform, deb and rpm packages for both
# architectures, and a sum for each of them that is right. Each program must be of
# the platform that its archive names. `make snapshot` runs it.
set -euo pipefail
cd "$(dirname "$0")/../dist"
fail() { echo "$*" >&2; exit 1; }

# platform FILE: what a program is for, as Go says
platform() { go version -m "$1" | awk '$2 ~ /^GOOS=|^GOARCH=/ {split($2, kv, "="); v[kv[1]] = kv[2]} END {print v["GOOS"] "_" v["GOARCH"]}'; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
archives=0
for archive in p2pd_*_linux_{amd64,arm64}.tar.gz p2pctl_*_{linux,darwin}_{amd64,arm64}.tar.gz; do
  [ -s "$archive" ] || fail "dist lacks an archive: $archive"
  mkdir "$tmp/$archive"
  tar -xzf "$archive" -C "$tmp/$archive"
  programs=(p2pctl)
  [[ $archive = p2pctl_* ]] || programs=(p2pd p2pd-scheduler)
  for program in "${programs[@]}" LICENSE; do
    [ -s "$tmp/$archive/$program" ] || fail "$archive lacks $program"
  done
  for program in "${programs[@]}"; do
    [[ $archive = *_$(platform "$tmp/$archive/$program").tar.gz ]] || fail "$program of $archive is for $(platform "$tmp/$archive/$program")"
  done
  archives=$((archives + 1))
done

packages=$(cd ../bin/packages && ls)
for name in p2pd p2pd-scheduler p2pctl; do
  for kind in '_amd64\.deb' '_arm64\.deb' '\.x86_64\.rpm' '\.aarch64\.rpm'; do
    [ "$(grep -cE "^$name[-_][0-9].*$kind\$" <<<"$packages")" = 1 ] || fail "bin/packages has not one $name with $kind: $packages"
  done
done

while read -r sum file; do
  at=$file
  [ -e "$at" ] || at=../bin/packages/$file
  echo "$sum  $at" | sha256sum --quiet --check || fail "SHA256SUMS has another sum of $file"
done <SHA256SUMS
[ "$(wc -l <SHA256SUMS)" = $((archives + $(wc -w <<<"$packages"))) ] || fail "SHA256SUMS names $(wc -l <SHA256SUMS) files, want the $archives archives and $(wc -w <<<"$packages") packages"
echo "release: $archives archives and $(wc -w <<<"$packages") packages, ok"
