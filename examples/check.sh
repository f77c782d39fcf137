#!/bin/sh
# Looks on each node whether an image can be pulled through p2pd: check.sh IMAGE
set -eu
image=${1:?usage: check.sh IMAGE}
namespace=${P2PD_NAMESPACE:-p2pd}
pods=$(kubectl --namespace "$namespace" get pods --selector app.kubernetes.io/component=node --output name)
[ -n "$pods" ] || { echo "there is no p2pd in namespace $namespace: say where it is by P2PD_NAMESPACE" >&2; exit 1; }
for pod in $pods; do
  echo "$pod"
  kubectl --namespace "$namespace" exec "$pod" --container p2pd -- /p2pctl check --root /host --image "$image"
done
