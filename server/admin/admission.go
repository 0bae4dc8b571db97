package admin

import (
	"net/http"

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
	Results         map[string]uint64 `json:"results"` // requests since the start, by what became of them
}

// getAdmission is the endpoint that shows a control.
func getAdmission(c *server.AdmissionControl) endpoint {
	return func(*http.Request) (any, *problem) { return viewAdmission(c), nil }
}

func viewAdmission(c *server.AdmissionControl) admissionView {
	p := c.Policy()
	v := admissionView{
		Requests: p.Requests.String(), ClientDownloads: p.ClientDownloads, Downloads: p.Downloads,
		QueueLength: p.QueueLength, QueueWait: p.QueueWait.String(),
		UnderWay: c.UnderWay(), Waiting: c.Waiting(), Results: make(map[string]uint64),
	}
	for i, n := range admissionResults(c) {
		v.Results[server.AdmissionReason(i).String()] = n
	}
	return v
}

func admissionResults(c *server.AdmissionControl) []uint64 {
	n := make([]uint64, server.NumAdmissionReasons)
	for i := range n {
		n[i] = c.Results(server.AdmissionReason(i))
	}
	return n
}
