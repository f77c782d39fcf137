package rpc

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/p2pd/p2pd/internal/ledger"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// reportsRate and reportsBurst bound the reports that are taken of one peer,
	// each second; those that are well tell every five. More are counted, and
	// read no further.
	reportsRate, reportsBurst = 1, 10
	// maxAge is how long ago something can be told to have happened.
	maxAge = 24 * time.Hour
)

// Report tells the scheduler, and whom it concerns, what has happened here. False:
// there is no stream, or no room on it.
func (c *Client) Report(r ledger.Report) bool {
	out := c.out.Load()
	return out != nil && out.put(parcel{report: &r}, nil)
}

// Report tells all schedulers, for any of them is asked. False: none was told.
func (f *Fleet) Report(r ledger.Report) (told bool) {
	for _, l := range f.routes.Load().to {
		told = l.voice.client.Report(r) || told
	}
	return told
}

// report takes a message, if it is a report.
func (s *Server) report(st *stream, m *p2pdv1.AttachRequest) (is bool, err error) {
	one, is := m.GetEvent().(*p2pdv1.AttachRequest_Report)
	if !is {
		return false, nil
	}
	if st.reports == nil {
		st.reports = rate.NewLimiter(reportsRate, reportsBurst)
	}
	if !st.reports.Allow() {
		s.excess.Add(1)
		return true, nil
	}
	now := time.Now()
	r, err := decodeReport(one.Report, now)
	if err != nil {
		return true, malformed("report", err)
	}
	s.events[kindReport].Add(1)
	if s.cfg.Report != nil {
		s.cfg.Report(now, st.peer, r)
	}
	return true, nil
}

// encodeReport is the wire form of a report that is sent now.
func encodeReport(r *ledger.Report, now time.Time) *p2pdv1.AttachRequest {
	m := &p2pdv1.Report{LeftOut: int64(r.LeftOut)}
	for i := range r.Pulls[:min(len(r.Pulls), ledger.PullsMost)] {
		m.Pulls = append(m.Pulls, encodePull(&r.Pulls[i], now))
	}
	for _, one := range r.Incidents[:min(len(r.Incidents), ledger.IncidentsMost)] {
		m.Incidents = append(m.Incidents, encodeIncident(one, now))
	}
	for i := range r.Checks[:min(len(r.Checks), ledger.ChecksMost)] {
		m.Checks = append(m.Checks, encodeCheckRun(&r.Checks[i]))
	}
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Report{Report: m}}
}

// decodeReport takes a report that arrived now. What is beyond the limits on
// counts is left out, for later versions may have more to tell.
func decodeReport(m *p2pdv1.Report, now time.Time) (r ledger.Report, err error) {
	for i, p := range m.GetPulls()[:min(len(m.GetPulls()), ledger.PullsMost)] {
		one, err := decodePull(p, now)
		if err != nil {
			return r, in(fmt.Sprintf("pulls[%d]", i), err)
		}
		r.Pulls = append(r.Pulls, one)
	}
	for i, p := range m.GetIncidents()[:min(len(m.GetIncidents()), ledger.IncidentsMost)] {
		one, err := decodeIncident(p, now)
		if err != nil {
			return r, in(fmt.Sprintf("incidents[%d]", i), err)
		}
		if one.Kind != "" {
			r.Incidents = append(r.Incidents, one)
		}
	}
	for i, p := range m.GetChecks()[:min(len(m.GetChecks()), ledger.ChecksMost)] {
		one, err := decodeCheckRun(p)
		if err != nil {
			return r, in(fmt.Sprintf("checks[%d]", i), err)
		}
		r.Checks = append(r.Checks, one)
	}
	left, err := decodeBytes("left_out", m.GetLeftOut())
	r.LeftOut = int(min(left, math.MaxInt32))
	return r, err
}
