package kube

const containerdConfig = `version = 4
root = '/var/lib/containerd'
state = '/run/containerd'
oom_score = 0
imports = []
disabled_plugins = ['io.containerd.nri.v1.nri']

[plugins]
  [plugins.'io.containerd.server.v1.grpc']
    address = '/run/containerd/containerd.sock'
  [plugins.'io.containerd.server.v1.ttrpc']
    address = '/run/containerd/containerd.sock.ttrpc'
  [plugins.'io.containerd.server.v1.debug']
    address = ''
    level = 'info'
  [plugins.'io.containerd.server.v1.metrics']
    address = ''
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'
    max_concurrent_downloads = 3
    use_local_image_pull = false
    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = '` + PauseImage + `'
    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = '/etc/containerd/certs.d'
  [plugins.'io.containerd.cri.v1.runtime']
    enable_selinux = false
    disable_apparmor = true
    restrict_oom_score_adj = true
    [plugins.'io.containerd.cri.v1.runtime'.cni]
      bin_dirs = ['/usr/lib/cni', '/opt/cni/bin']
      conf_dir = '/etc/cni/net.d'
  [plugins.'io.containerd.transfer.v1.local']
    config_path = '/etc/containerd/certs.d'
    max_concurrent_downloads = 3
`

const cniConfig = `{"cniVersion":"0.4.0","name":"lab","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipam":{"type":"host-local",
  "ranges":[[{"subnet":"%s.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}],"dataDir":"/var/lib/cni/networks"}},
 {"type":"portmap","capabilities":{"portMappings":true}}
]}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
port: 10250
readOnlyPort: 0
healthzPort: 10248
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: %s
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: ""
clusterDNS: ["%s"]
clusterDomain: cluster.local
oomScoreAdj: 0
podLogsDir: /var/log/pods
evictionHard: {imagefs.available: "1%%", nodefs.available: "1%%", memory.available: "100Mi"}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
volumePluginDir: /var/lib/kubelet/volumeplugins
`
