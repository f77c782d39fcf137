{{- define "p2pd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "p2pd.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "p2pd.labels" -}}
{{ include "p2pd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* p2pd.image: the image of a program: (list $ "p2pd") */ -}}
{{- define "p2pd.image" -}}
{{- $root := index . 0 -}}
{{- required "image.repository: say where the images are, for instance registry.example/p2pd (make images REGISTRY=... pushes them)" $root.Values.image.repository }}/{{ index . 1 }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- with get $root.Values.image.digests (index . 1) }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "p2pd.schedulerAddress" -}}
{{- if .Values.scheduler.address -}}
{{- .Values.scheduler.address -}}
{{- else if .Values.scheduler.enabled -}}
{{- printf "%s-scheduler.%s.svc:7310" (include "p2pd.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- /* p2pd.closed: whether this release has a cluster that it closes itself */ -}}
{{- define "p2pd.closed" -}}
{{- and .Values.scheduler.enabled (eq .Values.membership.mode "kubernetes") -}}
{{- end -}}

{{- /* p2pd.membership: how nodes join */ -}}
{{- define "p2pd.membership" -}}
{{- if .Values.membership.tokenSecret -}}
tokenFile: /var/run/p2pd/join/token
{{- else if eq (include "p2pd.closed" .) "true" -}}
tokenFile: /var/run/p2pd/account/token
clusterKeyFile: /etc/p2pd-cluster/cluster.crt
{{- else -}}
tokenFile: ""
{{- end -}}
{{- end -}}

{{- /* p2pd.guard: whom schedulers let in */ -}}
{{- define "p2pd.guard" -}}
{{- if eq (include "p2pd.closed" .) "true" -}}
mode: kubernetes
keyFile: /etc/p2pd-cluster/tls.key
serviceAccounts: [{{ printf "%s/%s-node" .Release.Namespace (include "p2pd.fullname" .) }}]
{{- else -}}
mode: open
{{- end -}}
{{- end -}}

{{- /* p2pd.schedulers: how many; those of an open cluster have no key to share */ -}}
{{- define "p2pd.schedulers" -}}
{{- eq (include "p2pd.closed" .) "true" | ternary (int .Values.scheduler.replicas) 1 -}}
{{- end -}}

{{- /* p2pd.fleet: how schedulers find each other */ -}}
{{- define "p2pd.fleet" -}}
{{- if gt (int (include "p2pd.schedulers" .)) 1 -}}
listen: 0.0.0.0:7312
seeds: [{{ printf "%s-scheduler.%s.svc:7312" (include "p2pd.fullname" .) .Release.Namespace }}]
advertise: scheduler.invalid:7310
{{- else -}}
listen: ""
{{- end -}}
{{- end -}}

{{- /* p2pd.memory: bytes of a Kubernetes quantity, nine tenths of them */ -}}
{{- define "p2pd.goMemLimit" -}}
{{- if . -}}
{{- /* A number in a values file arrives as a float: 5.36870912e+08. */ -}}
{{- $text := kindIs "float64" . | ternary (printf "%d" (int64 .)) (toString .) -}}
{{- $n := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexReplaceAll "^[0-9]+" $text "" -}}
{{- $by := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- if not (hasKey $by $unit) }}{{ fail (printf "resources.limits.memory %q: write it as a whole number with Ki, Mi, Gi, k, M, G or nothing" (toString .)) }}{{ end -}}
{{- div (mul $n (get $by $unit) 9) 10 -}}
{{- end -}}
{{- end -}}

{{- /* p2pd.config: p2pd's configuration */ -}}
{{- define "p2pd.config" -}}
{{- $any := eq .Values.node.network "pod" | ternary "0.0.0.0" "127.0.0.1" -}}
{{- $socket := printf "/host/run/%s" (base .Values.containerd.socket) -}}
{{- $own := dict
  "mirror" (dict "listen" (printf "%s:%d" $any (int .Values.node.mirrorPort)) "exposed" (eq .Values.node.network "pod")
    "drain" (printf "%ds" (max 1 (sub (int .Values.node.terminationGracePeriodSeconds) 10))))
  "http" (dict "listen" "0.0.0.0:7303")
  "store" (dict "path" "/var/lib/p2pd")
  "discovery" (dict "bootstrap" (dig "discovery" "bootstrap" (list (printf "%s-node.%s.svc:7301" (include "p2pd.fullname" .) .Release.Namespace)) .Values.node.config))
  "scheduler" (dict "address" (include "p2pd.schedulerAddress" .))
  "membership" (include "p2pd.membership" . | fromYaml)
  "containerd" (.Values.containerd.content | ternary (dict "socket" $socket "root" .Values.containerd.root) (dict "socket" ""))
-}}
{{- if .Values.containerd.unpack }}{{ $_ := set $own.containerd "criSocket" $socket }}{{ end -}}
{{- mergeOverwrite (deepCopy .Values.node.config) $own | toYaml -}}
{{- end -}}

{{- /* p2pd.preheat: where Harbor asks the schedulers */ -}}
{{- define "p2pd.preheat" -}}
{{- if .Values.preheat.enabled -}}
preheat:
  listen: 0.0.0.0:7313
  tls: {certFile: /etc/p2pd-preheat/tls.crt, keyFile: /etc/p2pd-preheat/tls.key}
  tokenFile: /etc/p2pd-preheat/token
{{- end -}}
{{- end -}}

{{- /* p2pd.page: where an Ingress reaches the schedulers' page */ -}}
{{- define "p2pd.page" -}}
{{- if .Values.page.enabled -}}
page:
  listen: 0.0.0.0:7314
  plaintext: {{ empty .Values.page.tlsSecret }}
  tokenFile: /etc/p2pd-page/token
  {{- if .Values.page.tlsSecret }}
  tls: {certFile: /etc/p2pd-page/tls.crt, keyFile: /etc/p2pd-page/tls.key}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "p2pd.schedulerConfig" -}}
{{- mergeOverwrite (deepCopy .Values.scheduler.config) (include "p2pd.preheat" . | fromYaml) (include "p2pd.page" . | fromYaml) (dict "listen" "0.0.0.0:7310" "http" (dict "listen" "0.0.0.0:7311") "membership" (include "p2pd.guard" . | fromYaml) "fleet" (include "p2pd.fleet" . | fromYaml)) | toYaml -}}
{{- end -}}

{{- /* p2pd.setup: the flags that setup and restore share */ -}}
{{- define "p2pd.hosts" -}}
- --root=/host
- --containerd-config={{ .Values.containerd.configPath }}/config.toml
{{- with .Values.containerd.certsDir }}
- --certs-dir={{ . }}
{{- end }}
- --mirror=http://127.0.0.1:{{ int .Values.node.mirrorPort }}
{{- end -}}

{{- /* p2pd.setupArgs: what tells containerd */ -}}
{{- define "p2pd.setupArgs" -}}
- setup
{{ include "p2pd.hosts" . }}
- --no-probe
{{- range .Values.containerd.registries }}
- --registry={{ . }}
{{- end }}
{{- if .Values.containerd.existing }}
- --existing
{{- end }}
{{- if .Values.containerd.shadowed }}
- --shadowed
{{- end }}
{{- end -}}

{{- /* p2pd.rootSecurity: the node's files belong to root; nothing else of root's is needed */ -}}
{{- define "p2pd.rootSecurity" -}}
runAsUser: 0
runAsGroup: 0
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* p2pd.restorer: what the containers share that put hosts.toml back */ -}}
{{- define "p2pd.restorer" -}}
image: {{ include "p2pd.image" (list . "p2pd") }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "p2pd.rootSecurity" . | nindent 2 }}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 128Mi}
volumeMounts:
  - {name: containerd-config, mountPath: {{ printf "/host%s" .Values.containerd.configPath | quote }}}
{{- end -}}
