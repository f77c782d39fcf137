// Package monitoring holds the rules that alert operators and the dashboards
// that they look at, for Prometheus and Grafana. There is no code in it: its
// tests look whether what the rules and dashboards ask for is there.
//
// Start reading at rules.yaml.
package monitoring
