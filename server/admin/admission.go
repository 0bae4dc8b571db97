package admin

import (
	"maps"
	"net/http"
	"slices"

	"github.com/fserve/fserve/server"
)

// admissionView is the answer to GET /admission.
type admissionView struct {
	Requests        string            `json:"requests"` // of each client
	ClientDownloads int               `json:"client_downloads"`
	Downloads       int               `json:"downloads"`
	QueueLength     int               `json:"queue_length"`
	QueueWait       string            `json:"queue_wait"`
	UnderWay        int               `json:"under_way"` // of what is counted
	Waiting         int               `json:"waiting"`
	Fields          string            `json:"fields"` // off, near or always
	Paths           []pathView        `json:"paths"`
	Breaker         breakerView       `json:"breaker"`
	Quotas          quotasView        `json:"quotas"`
	Results         map[string]uint64 `json:"results"` // requests since the start, by what became of them
}

// pathView are the bounds of what begins with a path.
type pathView struct {
	Prefix    string `json:"prefix"`
	Requests  string `json:"requests,omitempty"`  // of all clients together
	Downloads int    `json:"downloads,omitempty"` // likewise; UnderWay is what is counted by it
	UnderWay  int    `json:"under_way"`
}

// quotasView are all quotas in short.
type quotasView struct {
	Accounts int    `json:"accounts"` // users and links that are counted, in each day and month
	Refused  uint64 `json:"refused"`  // requests since the start
}

// admission is the listener as far as it shows who is admitted.
type admission struct{ *Admin }

func (a admission) get(*http.Request) (any, *problem) {
	s := a.cfg.Server
	c := s.Admission()
	p := c.Policy()
	v := admissionView{
		Requests: p.Requests.String(), ClientDownloads: p.ClientDownloads, Downloads: p.Downloads,
		QueueLength: p.QueueLength, QueueWait: p.QueueWait.String(),
		UnderWay: c.UnderWay(), Waiting: c.Waiting(), Results: make(map[string]uint64), Fields: p.Fields.String(),
		Paths: []pathView{}, Breaker: breaker(a).view(), Quotas: quotasView{s.Quotas().Accounts(), s.Quotas().Refused()},
	}
	for _, prefix := range slices.Sorted(maps.Keys(p.Paths)) {
		b := p.Paths[prefix]
		at := pathView{Prefix: prefix, Downloads: b.Downloads, UnderWay: c.PathUnderWay(prefix)}
		if b.Requests != (server.RequestRate{}) {
			at.Requests = b.Requests.String()
		}
		v.Paths = append(v.Paths, at)
	}
	for i, n := range admissionResults(c) {
		v.Results[server.AdmissionReason(i).String()] = n
	}
	return v, nil
}

func admissionResults(c *server.AdmissionControl) []uint64 {
	n := make([]uint64, server.NumAdmissionReasons)
	for i := range n {
		n[i] = c.Results(server.AdmissionReason(i))
	}
	return n
}
