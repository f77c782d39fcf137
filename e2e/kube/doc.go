// Package kube makes a real Kubernetes cluster out of a lab: etcd, API server,
// controllers, DNS, and on each node a kubelet and a containerd in the node's
// own network and mount namespaces, so that /etc/containerd and its kin are
// each node's own. Pods have a network that is routed between the nodes, a
// kube-proxy takes them to Services, and network policies are enforced.
package kube
