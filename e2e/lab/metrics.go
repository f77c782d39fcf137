package lab

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// The metrics that the lab reads, as p2pd names them: here and nowhere else.
const (
	ReceivedFromPeers  = `p2pd_bytes_total{direction="received",source="peer"}`
	ReceivedFromOrigin = `p2pd_bytes_total{direction="received",source="origin"}`
	ServedToClients    = `p2pd_bytes_total{direction="sent",scope="client"}`
	ServedToPeers      = `p2pd_bytes_total{direction="sent",scope="peer"}`
	FalsePieces        = `p2pd_verify_failures_total{what="piece"}`
	FalseBlobs         = `p2pd_verify_failures_total{what="blob"}`
	ResumedBytes       = `p2pd_cache_resumed_bytes_total`
	SelfLeases         = `p2pd_self_leases_total`
	DownloadsActive    = `p2pd_downloads_active`
	// PullsCompleted are pulls of whole images, by their last byte.
	PullsCompleted = `p2pd_image_pull_duration_seconds_count{outcome="complete",registry="` + RegistryHost + `"}`
	// ReceivedAcrossZones came from peers of other zones.
	ReceivedAcrossZones = `p2pd_bytes_total{direction="received",scope="cross_zone",source="peer"}`
	SchedulerConnected  = `p2pd_scheduler_connected`
	Schedulers          = `p2pd_schedulers`
	SchedulerPeers      = `p2psched_peers`
	DiscoveryPeers      = `p2pd_discovery_peers`
)

// Metrics is one scrape: values by name and labels, as on the page, and the sums
// over the labels scope and source by the names without one of them.
type Metrics map[string]float64

// Of is a metric that must be there; a renamed one must not read as 0.
func (m Metrics) Of(name string) (float64, error) {
	v, ok := m[name]
	if !ok {
		return 0, fmt.Errorf("no metric %s", name)
	}
	return v, nil
}

var summed = regexp.MustCompile(`,(?:scope|source)="[^"]*"`)

// withoutOne are a sample's names without one of the labels that are summed
// over; p2pd_bytes_total's first label is none of them.
func withoutOne(name string) (all []string) {
	if strings.HasPrefix(name, "p2pd_bytes_total{") {
		for _, at := range summed.FindAllStringIndex(name, -1) {
			all = append(all, name[:at[0]]+name[at[1]:])
		}
	}
	return all
}

// Scrape reads a page of metrics from a place.
func Scrape(ctx context.Context, from Place, url string) (Metrics, error) {
	return scrape(ctx, from.HTTPClient(), url)
}

// scrape reads a Prometheus text page.
func scrape(ctx context.Context, client *http.Client, url string) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer resp.Body.Close()
	m := make(Metrics)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
			for _, sum := range withoutOne(line[:at]) {
				m[sum] += v
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	return m, nil
}
