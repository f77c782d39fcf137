#!/bin/sh
# Brings an image to nodes and waits until all that were chosen have it:
#
#   preheat.sh IMAGE [FLAG OF 'p2pctl preheat create'...]
#   preheat.sh registry.example/prod/app:v7 --all
set -eu
image=${1:?usage: preheat.sh IMAGE [FLAG...], for instance preheat.sh registry.example/prod/app:v7 --all}
shift
exec kubectl --namespace "${P2PD_NAMESPACE:-p2pd}" exec statefulset/p2pd-scheduler -- \
  /p2pctl preheat create "$image" --wait "$@"
