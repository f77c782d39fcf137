package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Ports are the same at every place.
const (
	mirrorPort        = 7300
	peerPort          = 7301
	bulkPort          = 7302
	httpPort          = 7303
	schedulerPort     = 7310
	schedulerHTTPPort = 7311
	fleetPort         = 7312
	schedulerPorts    = 10 // from one scheduler at a place to the next
)

// Daemon is a running p2pd or scheduler.
type Daemon struct {
	*Process
	Place Place

	http   string // HOST:PORT of health and metrics
	number string // of several at one place; else empty
}

// Metrics scrapes the daemon.
func (d *Daemon) Metrics(ctx context.Context) (Metrics, error) {
	m, err := scrape(ctx, d.Place.HTTPClient(), "http://"+d.http+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	return m, nil
}

// CPUProfile has the daemon's CPU use of the next seconds written to a file, whose
// folder is made if need be.
func (d *Daemon) CPUProfile(ctx context.Context, length time.Duration, file string) error {
	return d.profile(ctx, fmt.Sprintf("profile?seconds=%d", int(length.Seconds())), file)
}

// HeapProfile likewise has what the daemon's memory is used for written to a file,
// once all garbage is gone.
func (d *Daemon) HeapProfile(ctx context.Context, file string) error {
	return d.profile(ctx, "heap?gc=1", file)
}

func (d *Daemon) profile(ctx context.Context, which, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/%s", d.http, which), nil)
	if err != nil {
		return err
	}
	resp, err := d.Place.HTTPClient().Do(req)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", d.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile of %s: %s", d.Name, resp.Status)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("folder of the profile of %s: %w", d.Name, err)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", d.Name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, resp.Body)
	return err
}

// loopback is where a place's programs reach each other: inside a namespace
// that is 127.0.0.1 as on a real node, else the place's own address.
func loopback(p Place) Place {
	if p.Netns != "" {
		p.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return p
}

// MirrorURL is where node i's container runtime finds its p2pd.
func (l *Lab) MirrorURL(i int) string { return "http://" + loopback(l.Net.Nodes[i]).At(mirrorPort) }

// SchedulerAddress is where peers find the scheduler.
func (l *Lab) SchedulerAddress() string { return l.Net.Scheduler.At(schedulerPort) }

// SchedulerPorts are those of one of several schedulers, for peers and for gossip.
func SchedulerPorts(i int) (peers, gossip int) {
	return schedulerPort + i*schedulerPorts, fleetPort + i*schedulerPorts
}

// PeerAddress is where other peers find node i.
func (l *Lab) PeerAddress(i int) string { return l.Net.Nodes[i].At(peerPort) }

// StartScheduler starts the scheduler, or starts it again.
func (l *Lab) StartScheduler(ctx context.Context) (*Daemon, error) {
	return l.StartSchedulerOf(ctx, 0, 1)
}

// StartStrictScheduler is StartScheduler for nodes that want tickets of each other.
func (l *Lab) StartStrictScheduler(ctx context.Context) (*Daemon, error) {
	guard := maps.Clone(l.cluster.guard())
	guard["strict"] = true
	return l.StartSchedulerWith(ctx, 0, 1, map[string]any{"membership": guard})
}

// StartSchedulerOf starts one of several schedulers, or starts it again. They
// are all at one place, at ports of their own.
func (l *Lab) StartSchedulerOf(ctx context.Context, i, of int) (*Daemon, error) {
	return l.StartSchedulerWith(ctx, i, of, nil)
}

// StartSchedulerWith is StartSchedulerOf with more in its configuration, or
// other things under a key, and env on top of the environment.
func (l *Lab) StartSchedulerWith(ctx context.Context, i, of int, more map[string]any, env ...string) (*Daemon, error) {
	p := l.Net.Scheduler
	d := &Daemon{Place: p, http: loopback(p).At(schedulerHTTPPort + i*schedulerPorts)}
	config := map[string]any{
		"admin":      map[string]any{"listen": ""},
		"listen":     p.At(schedulerPort + i*schedulerPorts),
		"http":       map[string]any{"listen": d.http, "pprof": true},
		"membership": l.cluster.guard(),
	}
	if of > 1 {
		d.number = fmt.Sprint(i)
		config["fleet"] = map[string]any{
			"listen": p.At(fleetPort + i*schedulerPorts), "seeds": []string{p.At(fleetPort), p.At(fleetPort + schedulerPorts)},
			"advertise": p.At(schedulerPort + i*schedulerPorts),
		}
	}
	maps.Copy(config, more)
	return d, l.startDaemon(ctx, d, l.Programs.Scheduler, env, config)
}

// StartSwarmOf is StartSwarm with several schedulers, of which peers are told
// one.
func (l *Lab) StartSwarmOf(ctx context.Context, schedulers int) (*Swarm, []*Daemon, error) {
	var fleet []*Daemon
	for i := range schedulers {
		d, err := l.StartSchedulerOf(ctx, i, schedulers)
		if err != nil {
			return nil, nil, err
		}
		fleet = append(fleet, d)
	}
	s := &Swarm{Scheduler: fleet[0]}
	for i := range l.Net.Nodes {
		d, err := l.StartNode(ctx, i)
		if err != nil {
			return nil, nil, err
		}
		s.Nodes = append(s.Nodes, d)
	}
	return s, fleet, s.WaitSchedulers(ctx, schedulers)
}

// WaitSchedulers waits until every running p2pd deals its swarms to that many
// schedulers.
func (s *Swarm) WaitSchedulers(ctx context.Context, n int) error {
	for _, d := range s.Nodes {
		if d.Ended() {
			continue
		}
		if err := d.WaitReady(ctx, func(ctx context.Context) error {
			m, err := d.Metrics(ctx)
			if err == nil && m[Schedulers] != float64(n) {
				err = fmt.Errorf("%s knows %.0f schedulers, want %d", d.Name, m[Schedulers], n)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// StartNode starts p2pd on node i, or starts it again over the store that its
// last life left. env is added to its environment.
func (l *Lab) StartNode(ctx context.Context, i int, env ...string) (*Daemon, error) {
	return l.StartNodeWith(ctx, i, nil, env...)
}

// StartNodeWith is StartNode with sections of its configuration in place of the lab's.
func (l *Lab) StartNodeWith(ctx context.Context, i int, sections map[string]any, env ...string) (*Daemon, error) {
	p := l.Net.Nodes[i]
	store, err := l.mkdir(filepath.Join(p.Name, "store"))
	if err != nil {
		return nil, err
	}
	here := loopback(p)
	config := map[string]any{
		"mirror":     map[string]any{"listen": here.At(mirrorPort)},
		"membership": l.cluster.pass(),
		"peer":       map[string]any{"listen": p.At(peerPort), "bulkListen": p.At(bulkPort), "bulkTLS": !l.Open, "advertise": p.Addr.String()},
		"http":       map[string]any{"listen": here.At(httpPort), "pprof": true},
		"scheduler":  map[string]any{"address": l.SchedulerAddress()},
		"store":      map[string]any{"path": store, "capacity": "20GiB"},
		// The machine's own containerd is none of the lab's business.
		"containerd": map[string]any{"socket": ""},
		// The one registry there is; no other must be asked by mistake.
		"allowAllRegistries": false,
		"registries":         []map[string]any{{"host": RegistryHost, "endpoint": l.Registry.Endpoint}},
	}
	if !l.Net.Shaped && l.NodeRate > 0 {
		most := int64(l.NodeRate.BytesPerSecond())
		config["limits"] = map[string]any{"upload": most, "download": most}
	}
	maps.Copy(config, sections)
	d := &Daemon{Place: p, http: here.At(httpPort)}
	return d, l.startDaemon(ctx, d, l.Programs.P2PD, append(l.share(), env...), config)
}

// share is the part of the machine that a node's daemon may take: where there
// are more nodes than cores, one core, as a container's limit would have it.
// Each would else run threads for all of them, which mostly wait for a core.
func (l *Lab) share() []string {
	if l.Nodes <= runtime.NumCPU() {
		return nil
	}
	return []string{"GOMAXPROCS=1"}
}

func (l *Lab) startDaemon(ctx context.Context, d *Daemon, program string, env []string, config map[string]any) error {
	name := d.Place.Name + "-" + filepath.Base(program) + d.number
	file := filepath.Join(l.Dir, name+".yaml")
	err := writeYAML(file, config)
	if err != nil {
		return err
	}
	d.Process, err = l.Start(d.Place, Spec{Name: name, Args: []string{program, "--config", file}, Env: env})
	if err != nil {
		return err
	}
	client := d.Place.HTTPClient()
	return d.WaitReady(ctx, func(ctx context.Context) error { return get(ctx, client, "http://"+d.http+"/readyz") })
}

// Swarm is a scheduler and a p2pd on every node.
type Swarm struct {
	Scheduler *Daemon
	Nodes     []*Daemon
}

// StartSwarm starts everything, the nodes with env on top of the environment,
// and waits until every p2pd has its scheduler.
func (l *Lab) StartSwarm(ctx context.Context, env ...string) (*Swarm, error) {
	return l.startSwarm(ctx, nil, func(int) []string { return env })
}

// StartSwarmInZones is StartSwarm for nodes that are dealt to zones, and told. The
// scheduler has more in its configuration.
func (l *Lab) StartSwarmInZones(ctx context.Context, zones int, more map[string]any) (*Swarm, error) {
	return l.startSwarm(ctx, more, func(i int) []string {
		return []string{fmt.Sprintf("P2PD_TOPOLOGY_ZONE=z%d", i%zones)}
	})
}

func (l *Lab) startSwarm(ctx context.Context, more map[string]any, env func(node int) []string) (*Swarm, error) {
	s := &Swarm{}
	var err error
	if s.Scheduler, err = l.StartSchedulerWith(ctx, 0, 1, more); err != nil {
		return nil, err
	}
	for i := range l.Net.Nodes {
		d, err := l.StartNode(ctx, i, env(i)...)
		if err != nil {
			return nil, err
		}
		s.Nodes = append(s.Nodes, d)
	}
	return s, s.WaitConnected(ctx)
}

// WaitConnected waits until every running p2pd has its scheduler.
func (s *Swarm) WaitConnected(ctx context.Context) error {
	for _, d := range s.Nodes {
		if d.Ended() {
			continue
		}
		if err := d.WaitReady(ctx, d.connected); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) connected(ctx context.Context) error {
	m, err := d.Metrics(ctx)
	if err != nil {
		return err
	}
	if v, err := m.Of(SchedulerConnected); err != nil || v != 1 {
		return errors.Join(errors.New("no scheduler connected"), err)
	}
	return nil
}

// Sum adds up one metric of all running nodes.
func (s *Swarm) Sum(ctx context.Context, metric string) (float64, error) {
	total := 0.0
	for _, d := range s.Nodes {
		if d.Ended() {
			continue
		}
		m, err := d.Metrics(ctx)
		if err != nil {
			return 0, err
		}
		v, err := m.Of(metric)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", d.Name, err)
		}
		total += v
	}
	return total, nil
}
