#!/usr/bin/env bash
# Renders the Helm chart with a matrix of values, and with values that its schema
# must refuse. Needs helm and e2e/chart in $PATH, and p2pd's sources around it: every
# rendered object is held against Kubernetes' types, every rendered configuration
# against what the programs themselves take.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=deploy/helm/p2pd
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
fail() { echo "$*" >&2; exit 1; }

helm lint --strict --quiet "$chart" --set image.repository=registry.example/p2pd >"$out/lint" || { cat "$out/lint"; exit 1; }
go build -o "$out/bin/" ./cmd/p2pd ./cmd/scheduler

# render NAME FLAGS...: the chart, and each configuration in it
render() {
  local name=$1; shift
  helm template release "$chart" --namespace p2pd --set image.repository=registry.example/p2pd "$@" >"$out/$name.yaml" ||
    fail "values of \"$name\" are not rendered"
  chart <"$out/$name.yaml" >"$out/$name.pods" || fail "\"$name\" has objects that Kubernetes would refuse"
  # All but the nodes' pods keep to the Pod Security level "restricted"; these break
  # what they must to be at a node's port, its containerd, and root's files.
  ! grep -v -e '^DaemonSet/' -e '^Deployment/.*-canary: ' "$out/$name.pods" | grep -v ': restricted$' || fail "\"$name\" has pods that are not restricted"
  ! grep -e '^DaemonSet/' -e '^Deployment/' "$out/$name.pods" | grep -E 'Escalation|capabilit|seccomp|privileged' || fail "\"$name\": a node's pod has more rights than it needs"
  for program in p2pd scheduler; do
    awk -v key="  $program.yaml: |" '$0 == key {on = 1; next} on && !/^    / {on = 0} on {print substr($0, 5)}' "$out/$name.yaml" >"$out/$program.yaml"
    [ -s "$out/$program.yaml" ] || fail "\"$name\" has no configuration of $program"
    "$out/bin/$program" check-config --config "$out/$program.yaml" >/dev/null || fail "\"$name\": $program refuses its configuration"
  done
}
# has NAME TEXT / hasnt NAME TEXT: what a rendering must and must not say
has() { grep -qF -- "$2" "$out/$1.yaml" || fail "\"$1\" lacks: $2"; }
hasnt() { ! grep -qF -- "$2" "$out/$1.yaml" || fail "\"$1\" says: $2"; }

render defaults
has defaults 'hostIP: 127.0.0.1'
has defaults 'address: release-p2pd-scheduler.p2pd.svc:7310'
has defaults 'release-p2pd-node.p2pd.svc:7301'
has defaults 'value: "483183820"' # nine tenths of 512Mi
hasnt defaults 'hostNetwork'
hasnt defaults 'kind: PodMonitor'
has defaults 'mode: kubernetes'
has defaults 'serviceAccounts:'
has defaults 'audience: p2pd'
has defaults 'resources: [tokenreviews]'
has defaults 'verbs: [list]'
hasnt defaults 'verbs: [get]'
has defaults 'args: [await-restored, "p2pd/release-p2pd-restore"]'
has defaults 'resourceNames: [release-p2pd-restore]'
# Nodes know the schedulers by the certificate; the key is the schedulers' alone.
[ "$(grep -c 'secretName' "$out/defaults.yaml")" = 1 ] || fail "the cluster's key is mounted elsewhere than at the scheduler"
awk '/^  tls.key: /{print $2}' "$out/defaults.yaml" | base64 -d >"$out/tls.key"
awk '/^  cluster.crt: /{on = 1; next} on && !/^    / {on = 0} on {print substr($0, 5)}' "$out/defaults.yaml" >"$out/cluster.crt"
chmod 0600 "$out/tls.key"
"$out/bin/scheduler" pin --membership-key-file "$out/tls.key" >"$out/pin"
"$out/bin/scheduler" pin "$out/cluster.crt" | cmp - "$out/pin" || fail "the certificate is not of the key"
has defaults 'replicas: 3'
has defaults 'kind: PodDisruptionBudget'
has defaults 'release-p2pd-scheduler.p2pd.svc:7312'
render one --set scheduler.replicas=1
hasnt one 'P2PSCHED_FLEET_ADVERTISE'
hasnt one 'kind: PodDisruptionBudget'
render unlabelled --set preheat.selectors=false
hasnt unlabelled 'resources: [nodes]'
render open --set membership.mode=open
hasnt open 'kind: ClusterRole'
hasnt open 'kind: Secret'
has open 'mode: open'
has open 'replicas: 1'
render elsewhere --set scheduler.enabled=false,scheduler.address=s.example:7310,membership.tokenSecret=join
has elsewhere 'secretName: join'
hasnt elsewhere 'kind: ClusterRole'
render secret --set membership.existingSecret=mine --set-file membership.certificate="$out/cluster.crt"
has secret 'secretName: mine'
hasnt secret 'kind: Secret'
render host --set node.network=host
has host 'hostNetwork: true'
has host 'listen: 127.0.0.1:7300'
hasnt host 'hostPort'
render lean --set containerd.setup=false,containerd.content=false,scheduler.enabled=false,networkPolicy.enabled=false
hasnt lean 'kind: NetworkPolicy'
hasnt lean 'kind: StatefulSet'
hasnt lean 'preStop'
hasnt lean 'post-delete'
hasnt lean 'containerd.sock'
render full --set podMonitor.enabled=true,node.config.store.capacity=50GiB,imagePullSecrets={pull},containerd.registries={a.example},containerd.existing=true \
  --set-json 'networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"a":"b"}}}]' --set node.podLabels.team=a,scheduler.podAnnotations.x=y,node.config.tracing.enabled=true,node.env[0].name=OTEL_TRACES_SAMPLER,node.env[0].value=always_on
has full 'name: OTEL_TRACES_SAMPLER'
has full 'capacity: 50GiB'
has full 'registry=a.example'
# Nothing of the Prometheus operator's where it is not.
hasnt full 'kind: PodMonitor'
render watched --api-versions monitoring.coreos.com/v1 --set podMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true,dashboards.annotations.a=b \
  --set prometheusRule.alertLabels.team=infra,prometheusRule.alerts.P2PImagePullSlow.threshold=1000000,prometheusRule.alerts.P2PImagePullSlow.for=7m \
  --set prometheusRule.alerts.P2PNodeAbsent.enabled=false,prometheusRule.alerts.P2PCorruption.severity=page
has watched 'kind: PodMonitor'
has watched 'kind: PrometheusRule'
has watched 'expr: p2pd:image_pull_duration_seconds:p95 > 1000000'
has watched 'for: 7m'
has watched 'team: infra'
has watched 'severity: page'
has watched 'alert: P2PSchedulerDown'
has watched 'humanizeDuration }}'
hasnt watched 'P2PNodeAbsent'
has watched 'grafana_dashboard: "1"'
has watched 'name: release-p2pd-dashboard-fleet'
has watched 'name: release-p2pd-dashboard-origin'
render unscheduled --api-versions monitoring.coreos.com/v1 --set scheduler.enabled=false,prometheusRule.enabled=true
hasnt unscheduled 'P2PSchedulerDown'
# What the chart needs to say itself, nobody else can.
printf 'node: {resources: {limits: {memory: 536870912}}}\n' >"$out/number.values"
render number -f "$out/number.values"
has number 'value: "483183820"'
render stubborn --set node.config.http.listen=127.0.0.1:1,scheduler.config.listen=127.0.0.1:1
hasnt stubborn '127.0.0.1:1'

render digest --set image.digests.p2pd=sha256:$(printf 'a%.0s' {1..64})
has digest "/p2pd:0.1.0@sha256:aaaa"
for values in "$chart"/ci/*.yaml; do
  render "$(basename "$values" .yaml)" -f "$values" --api-versions monitoring.coreos.com/v1
done
has full-values 'kind: PrometheusRule'
has preheat-values 'listen: 0.0.0.0:7313'
has preheat-values 'repository: prod/**'
hasnt defaults '7313'
has page-values 'kind: Ingress'
has page-values 'host: "p2pd.corp.example"'
has page-values 'ingressClassName: nginx'
has page-values 'secretName: p2pd-page'
has page-values 'plaintext: true'
has page-values 'kubernetes.io/metadata.name: ingress-nginx'
hasnt defaults '7314'
hasnt defaults 'canary'
hasnt defaults 'kind: Ingress'
render page --set page.enabled=true,page.tokenSecret=t,page.tlsSecret=c
has page 'plaintext: false'
has page 'certFile: /etc/p2pd-page/tls.crt'
has page 'appProtocol: https'
hasnt page 'kind: Ingress'

# The examples' objects, but for those of Argo Rollouts and Chaos Mesh.
for file in examples/rbac.yaml examples/argocd/presync.yaml examples/argocd/postsync.yaml; do
  chart <"$file" >"$out/example" || fail "$file: Kubernetes would refuse it"
  ! grep -v ': restricted$' "$out/example" || fail "$file: a pod is not restricted"
done

# refused FLAGS...: values that are a mistake
refused() {
  ! helm template release "$chart" "$@" >"$out/refused" 2>&1 || fail "not refused: $*"
}
refused
refused --set image.repository=r --set nod.network=host
refused --set image.repository=r --set node.netwrok=host
refused --set image.repository=r --set node.network=bridge
refused --set image.repository=r --set node.mirrorPort=0
refused --set image.repository=r --set containerd.socket=run.sock
refused --set image.repository=r --set scheduler.address=nowhere
refused --set image.repository=r --set membership.mode=none
refused --set image.repository=r --set scheduler.replicas=0
refused --set image.repository=r --set membership.existingSecret=absent
refused --set image.repository=r --set node.resources.limits.memory=1.5Gi
refused --api-versions monitoring.coreos.com/v1 --set image.repository=r,prometheusRule.enabled=true,prometheusRule.alerts.P2PImagePulSlow.threshold=1
refused --set image.repository=r,prometheusRule.alerts.P2PImagePullSlow.treshold=1
refused --set image.repository=r,prometheusRule.alerts.P2PImagePullSlow.for=soon
# Parts of values that belong to Kubernetes or to p2pd itself.
refused --set image.repository=r --set node.resources.limit.memory=1Gi
refused --set image.repository=r --set node.config.stroe.capacity=1GiB
refused --set image.repository=r --set scheduler.config.log.levle=debug
refused --set image.repository=r --set-json 'node.tolerations=[{"keey":"a"}]'
refused --set image.repository=r --set-json 'scheduler.affinity={"podAntiAfinity":{}}'
refused --set image.repository=r --set-json 'networkPolicy.metricsFrom=[{"namespaceSelektor":{}}]'
refused --set image.repository=r --set image.digests.p2pd=latest
refused --set image.repository=r --set preheat.enabled=true,preheat.tlsSecret=a
refused --set image.repository=r --set preheat.enabled=true,preheat.tokenSecret=a
refused --set image.repository=r --set preheat.selectors=none
refused --set image.repository=r --set canary.enabled=true,canary.image=busybox
refused --set image.repository=r --set canary.enabled=true,canary.repository=canary
refused --set image.repository=r --set canary.enabled=true,canary.image=a,canary.repository=b,canary.every=often
refused --set image.repository=r --set page.enabled=true
refused --set image.repository=r --set ingress.enabled=true,ingress.hosts={p2pd.example}
refused --set image.repository=r --set page.enabled=true,page.tokenSecret=a,ingress.enabled=true
refused --set image.repository=r --set page.enabled=true,page.tokenSecret=a,ingress.enabled=true,ingress.hosts={https://p2pd.example}
refused --set image.repository=r --set page.enabled=true,page.tokenSecret=a,ingress.enabled=true,ingress.hosts={p2pd.example},ingress.class=nginx
refused --set image.repository=r --set scheduler.enabled=false,page.enabled=true,page.tokenSecret=a,ingress.enabled=true,ingress.hosts={p2pd.example}
echo "chart: ok"
