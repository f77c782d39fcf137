package preheat

import (
	"cmp"

	"github.com/p2pd/p2pd/internal/api"
)

// shown is a job as it is told to people and programs, with or without its nodes.
func (j *Job) shown(nodes bool) api.Preheat {
	p := api.Preheat{
		Meta: api.Of("Preheat"), ID: int64(j.ID), Image: j.Spec.Image(), Digest: j.Digest, Platforms: j.Spec.Platforms,
		Scope: j.Spec.Scope, Count: j.Spec.Count, Percentage: j.Spec.Percentage, Selector: j.Spec.Labelled.selector(), Into: cmp.Or(j.Spec.Into, api.PreheatStore), State: j.State, Error: j.Error,
		Scheduler: j.TakenBy, Created: j.Created.UTC(), Updated: j.Updated.UTC(), Nodes: len(j.Nodes),
	}
	if !j.running() {
		ended := j.Ended.UTC()
		p.Ended = &ended
	}
	for _, n := range j.Nodes {
		switch n.State {
		case api.PreheatDone:
			p.Done++
		case api.PreheatFailed:
			p.Failed++
		}
		p.Bytes, p.OfAll = p.Bytes+n.Bytes, p.OfAll+n.OfBytes
		if nodes {
			p.NodeItems = append(p.NodeItems, api.PreheatNode{
				Peer: string(n.Peer), Node: n.Name, Zone: n.Zone, Address: n.Address, State: n.State, Blobs: n.Blobs, OfBlobs: n.OfBlobs,
				Bytes: n.Bytes, OfBytes: n.OfBytes, FailedBlob: n.Failed, Error: n.Error,
			})
		}
	}
	return p
}
