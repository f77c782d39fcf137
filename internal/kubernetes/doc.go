// Package kubernetes asks the API server of the cluster that a pod runs in,
// in the pod's own name: whose service account's token that is, what a node's
// labels are, which nodes a selector of labels fits, and on how many nodes a DaemonSet
// is, which it can delete. That is five requests, so it needs no client library.
//
// It does not know what the answers are for.
//
// Start reading at InCluster and Client.Review.
package kubernetes
