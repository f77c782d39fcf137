#!/bin/sh
# Preheats an image if Trivy finds nothing in it that is high or critical and has
# a fix: gate.sh IMAGE@sha256:... [FLAG OF 'p2pctl preheat create'...]
set -eu
image=${1:?usage: gate.sh IMAGE@sha256:... [FLAG...]}
case $image in
*@sha256:*) ;;
*)
  echo "gate.sh: $image names no digest: a tag may mean something else by the time it is preheated" >&2
  exit 2
  ;;
esac
trivy image --exit-code 1 --severity HIGH,CRITICAL --ignore-unfixed "$image"
exec "$(dirname "$0")/preheat.sh" "$@"
