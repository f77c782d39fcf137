package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/tracing"
)

// Config is what a Mirror needs. Blobs and Registries must be set; zero
// values of the rest mean the defaults below.
type Config struct {
	Blobs      Blobs
	Registries Registries
	// Access decides who may have what. Nil: whoever can ask.
	Access Access
	// DefaultRegistry is the registry, host[:port], of requests that name
	// none with an "ns" parameter. Empty: such requests are refused.
	DefaultRegistry string
	// Arrivals is asked for evidence that bytes are on their way. Nil: every
	// wait goes on to WaitLimit.
	Arrivals Arrivals
	// Ranges opens parts of blobs. Nil: a range is read from the whole blob.
	Ranges RangeBlobs
	// RangeFetch is what a range of a blob that is not here makes fetched.
	RangeFetch RangeFetch
	// Ahead fetches the layers that a client will ask for next. Nil: nothing is
	// fetched before it is asked for.
	Ahead Ahead
	// FirstByteTimeout is how long a request without its first byte, and
	// without evidence that it is on its way, waits before it is refused.
	FirstByteTimeout time.Duration
	// StallTimeout is how long a body without its next piece, and without
	// evidence that it is on its way, waits before it is cut.
	StallTimeout time.Duration
	// WaitLimit bounds both waits, whatever the evidence.
	WaitLimit time.Duration
	// Drain bounds how long running answers may go on when Serve ends.
	Drain time.Duration
	// MaxRequests bounds the requests answered at once; more are refused.
	MaxRequests int
	// Label is what a registry is called in Stats: one of a fixed set of names.
	// Nil calls all the same, by none.
	Label func(host string) string
	// Pulls is told of the requests for images, to know how long pulls take;
	// nil: nobody is.
	Pulls *pulls.Tracker
	// Tracer makes spans of requests; nil: nobody does.
	Tracer *tracing.Tracer
	// Journal remembers what clients did not get, for people; nil: nobody.
	Journal *journal.Journal
	// Refused is told what clients did not get by somebody's policy. It must not
	// block. Nil: nobody is.
	Refused func(at time.Time, one ledger.Incident)
	Log     *slog.Logger // nil discards
}

const (
	// defaultFirstByte is what a pull may lose by asking a mirror that has
	// nothing to give, before it goes to the origin. containerd 1.6 and 1.7
	// would wait for headers for ever.
	defaultFirstByte = 2 * time.Second
	// defaultStall gives the engine time to help itself at the origin, which
	// it does within 4 s of silence; a client that is cut goes there too.
	defaultStall = 5 * time.Second
	// defaultWait is well below the 30 s after which containerd 2.3 gives up
	// on headers and the 5 min after which it cancels a pull that makes no
	// progress. A first piece of 1 MiB comes in at 0.5 Mbit/s.
	defaultWait = 20 * time.Second
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
	images   images
	chunks   *chunks
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
	if cfg.FirstByteTimeout < 0 || cfg.StallTimeout < 0 || cfg.WaitLimit < 0 || cfg.Drain < 0 || cfg.MaxRequests < 0 {
		return nil, errors.New("mirror: limits cannot be negative")
	}
	setDefault(&cfg.FirstByteTimeout, defaultFirstByte)
	setDefault(&cfg.StallTimeout, defaultStall)
	setDefault(&cfg.WaitLimit, defaultWait)
	setDefault(&cfg.Drain, defaultDrain)
	setDefault(&cfg.MaxRequests, defaultMaxRequests)
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Label == nil {
		cfg.Label = func(string) string { return "" }
	}
	if cfg.Refused == nil {
		cfg.Refused = func(time.Time, ledger.Incident) {}
	}
	if cfg.Access == nil {
		cfg.Access = everybody{cfg.Registries}
	}
	return &Mirror{
		cfg:     cfg,
		log:     cfg.Log,
		sizes:   newSizes(),
		images:  newImages(),
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

// Server is what the mirror calls itself in the header of that name.
const Server = "p2pd"

// ServeHTTP answers one request.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{m: m, w: w, r: r, began: time.Now()}
	running := m.counters.running.Add(1)
	defer m.counters.running.Add(-1)
	defer func() { x.finish(recover()) }()

	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Server", Server)
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
	if bad := m.place(x); bad != nil {
		return bad
	}
	x.pulling()
	x.tracing()
	if err := m.admit(x); err != nil {
		return err
	}
	switch t.kind {
	case Tag:
		return m.answerTag(x)
	case Manifest:
		return m.answerManifest(x, t.digest)
	default:
		return m.answerBlob(x)
	}
}
