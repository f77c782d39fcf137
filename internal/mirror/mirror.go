package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Config is what a Mirror needs. Blobs and Registries must be set; zero
// values of the rest mean the defaults below.
type Config struct {
	Blobs      Blobs
	Registries Registries
	// DefaultRegistry is the registry, host[:port], of requests that name
	// none with an "ns" parameter. Empty: such requests are refused.
	DefaultRegistry string
	// FirstByteTimeout bounds how long a request waits for its first byte
	// before it is refused.
	FirstByteTimeout time.Duration
	// StallTimeout bounds how long a body waits for its next piece before
	// it is cut.
	StallTimeout time.Duration
	// Drain bounds how long running answers may go on when Serve ends.
	Drain time.Duration
	// MaxRequests bounds the requests answered at once; more are refused.
	MaxRequests int
	Log         *slog.Logger // nil discards
}

const (
	// defaultFirstByte is well below the 30 s after which containerd 2.3
	// gives up on headers (1.6 and 1.7 wait for ever), and lets a first
	// piece of 1 MiB come in at 0.5 Mbit/s.
	defaultFirstByte = 20 * time.Second
	// defaultStall is well below the 5 min after which containerd cancels
	// a pull that makes no progress, and lets the largest piece, 16 MiB,
	// come in at 8 Mbit/s.
	defaultStall = 20 * time.Second
	// defaultDrain is below the 30 s that Kubernetes gives a pod to end.
	defaultDrain = 20 * time.Second
	// defaultMaxRequests is 50 times what containerd asks at once with
	// parallel fetch, and below the file descriptors of a small limit.
	defaultMaxRequests = 512
	// maxParsing bounds the manifests that are in memory at once; with
	// maxDocument, to 32 MiB.
	maxParsing = 8
)

// Mirror is the OCI face. It is an http.Handler; Serve runs it. Make one
// with New.
type Mirror struct {
	cfg      Config
	log      *slog.Logger
	sizes    sizes
	chunks   chunks
	parsing  chan struct{} // one entry a manifest in memory
	counters counters
}

// New makes a mirror. It starts nothing.
func New(cfg Config) (*Mirror, error) {
	if cfg.Blobs == nil || cfg.Registries == nil {
		return nil, errors.New("mirror needs blobs and registries")
	}
	if cfg.DefaultRegistry != "" {
		host, err := parseHost(cfg.DefaultRegistry)
		if err != nil {
			return nil, fmt.Errorf("default registry: %w", err)
		}
		cfg.DefaultRegistry = host
	}
	if cfg.FirstByteTimeout < 0 || cfg.StallTimeout < 0 || cfg.Drain < 0 || cfg.MaxRequests < 0 {
		return nil, errors.New("mirror: limits cannot be negative")
	}
	setDefault(&cfg.FirstByteTimeout, defaultFirstByte)
	setDefault(&cfg.StallTimeout, defaultStall)
	setDefault(&cfg.Drain, defaultDrain)
	setDefault(&cfg.MaxRequests, defaultMaxRequests)
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	return &Mirror{
		cfg:     cfg,
		log:     cfg.Log,
		sizes:   newSizes(),
		chunks:  newChunks(),
		parsing: make(chan struct{}, maxParsing),
	}, nil
}

// setDefault gives a value that is zero its default.
func setDefault[T comparable](v *T, byDefault T) {
	if *v == *new(T) {
		*v = byDefault
	}
}

// ServeHTTP answers one request.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{m: m, w: w, r: r, began: time.Now()}
	running := m.counters.running.Add(1)
	defer m.counters.running.Add(-1)
	defer func() { x.finish(recover()) }()

	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if running > int64(m.cfg.MaxRequests) {
		x.refuse(fail(http.StatusServiceUnavailable, codeUnavailable,
			"the mirror answers %d requests already", m.cfg.MaxRequests))
		return
	}
	if err := m.answer(x); err != nil {
		x.refuse(err)
	}
}

// answer tells what is asked for and has it answered. An error is yet to be
// told to the client.
func (m *Mirror) answer(x *exchange) error {
	t, bad := parsePath(x.r.URL.Path)
	x.target = t
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		return fail(http.StatusMethodNotAllowed, codeUnsupported, "this mirror is read-only")
	}
	if bad != nil {
		return bad
	}
	if t.kind == Base {
		x.w.Header().Set("Content-Type", "application/json")
		x.send(http.StatusOK, []byte("{}"))
		return nil
	}
	host, bad := registryHost(x.r.URL.RawQuery, m.cfg.DefaultRegistry)
	if bad != nil {
		return bad
	}
	x.host = host
	switch t.kind {
	case Tag:
		return m.answerTag(x)
	case Manifest:
		return m.answerManifest(x, t.digest)
	default:
		return m.answerBlob(x)
	}
}
