package daemon

import (
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/internal/throttle"
)

// LimitsConfig bounds bytes a second; 0 is no limit. It is read again on
// SIGHUP.
type LimitsConfig struct {
	Upload   Bytes `json:"upload"`
	Download Bytes `json:"download"`
	// CrossZoneUpload and CrossZoneDownload bound what goes to and comes from
	// peers of other zones besides.
	CrossZoneUpload   Bytes `json:"crossZoneUpload"`
	CrossZoneDownload Bytes `json:"crossZoneDownload"`
	// Line is what the machine's network line carries each way; 0: what the
	// kernel says of the interface with the default route.
	Line Bytes `json:"line"`
	// Reserve is kept free on the line for others than p2pd.
	Reserve Room `json:"reserve"`
}

func (c *LimitsConfig) flags(fs *pflag.FlagSet) {
	fs.Var(&c.Upload, "limits-upload", "bytes a second to neighbours; 0: no limit")
	fs.Var(&c.Download, "limits-download", "bytes a second from neighbours and origin; 0: no limit")
	fs.Var(&c.CrossZoneUpload, "limits-cross-zone-upload", "bytes a second to neighbours in other zones; 0: no limit")
	fs.Var(&c.CrossZoneDownload, "limits-cross-zone-download", "bytes a second from neighbours in other zones; 0: no limit")
	fs.Var(&c.Line, "limits-line", "bytes a second that the network line carries each way; 0: what the kernel says")
	fs.Var(&c.Reserve, "limits-reserve", "what p2pd leaves of the line to others, an amount a second or a share such as 20%")
}

// limits checks what is configured.
func (p *problems) limits(c LimitsConfig) {
	if c.Line > 0 && c.Reserve.Bytes >= c.Line {
		p.add("limits.reserve", &c.Reserve, "leaves nothing of limits.line; reserve less")
	}
}

// limits are the rates of a running node, which may change.
type limits struct {
	upload, download, farUpload, farDownload *throttle.Limit
}

func newLimits(c LimitsConfig, log *slog.Logger) *limits {
	l := &limits{throttle.New(0), throttle.New(0), throttle.New(0), throttle.New(0)}
	l.apply(c, log)
	return l
}

// apply makes c the limits from now on.
func (l *limits) apply(c LimitsConfig, log *slog.Logger) {
	most := int64(0)
	if c.Reserve != (Room{}) {
		line, err := int64(c.Line), error(nil)
		if line == 0 {
			line, err = throttle.Line()
		}
		if err != nil {
			log.Warn("limits.reserve has no effect, as the speed of the network line is not known; set limits.line", "err", err)
		}
		most = c.Reserve.of(line)
	}
	l.upload.Set(tighter(int64(c.Upload), most))
	l.download.Set(tighter(int64(c.Download), most))
	l.farUpload.Set(int64(c.CrossZoneUpload))
	l.farDownload.Set(int64(c.CrossZoneDownload))
}

// of is what is left of a line of so many bytes a second; 0 if that is not
// known. Something is always left: p2pd must not stop.
func (r Room) of(line int64) int64 {
	if line <= 0 {
		return 0
	}
	return max(line-int64(r.Bytes)-int64(float64(line)*r.Percent/100), 1)
}

// tighter is the lower one of two rates of which 0 is none.
func tighter(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func (l *limits) metrics() []metrics.Metric {
	return []metrics.Metric{{Name: "p2pd_limit_bytes_per_second", Help: "What p2pd takes at most of the line, by what it is for; 0: no limit.", Gauge: true, Samples: []metrics.Sample{
		metrics.By("of", "upload", l.upload.Rate()), metrics.By("of", "download", l.download.Rate()),
		metrics.By("of", "cross_zone_upload", l.farUpload.Rate()), metrics.By("of", "cross_zone_download", l.farDownload.Rate()),
	}}}
}
