package config

import (
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
)

// Admission bounds what clients may ask for: how often, and how much at a time.
type Admission struct {
	// Client bounds each client: an address, of IPv6 the network of 64 bits.
	Client ClientAdmission `key:"client"`
	// Downloads is how many responses may be under way at a time, of all clients together.
	// What is beyond them waits in the queue, or gets 503. Connections that rest do not count;
	// max_connections bounds them. Default: 0, no bound.
	Downloads int `key:"downloads" flag:"max-downloads" live:"yes" help:"responses that may be under way at a time, of all clients together (default: no bound)"`
	// Paths bound what begins with a path, of all clients together, each with the keys requests and
	// downloads: /updates/: {requests: 2000/s burst 500, downloads: 400}. The longest beginning
	// counts; what is beyond gets 503. Default: none.
	Paths map[string]PathAdmission `key:"paths" live:"yes"`
	// Fields says which answers have RateLimit-Policy and RateLimit
	// (draft-ietf-httpapi-ratelimit-headers), by which clients see what they have left of a rate of
	// requests: off, near (less than a quarter is left, or the request is refused) or always. Default: off.
	Fields RateFields `key:"fields" flag:"rate-fields" live:"yes" help:"answers that have RateLimit fields: off, near (less than a quarter is left) or always"`
	// Breaker refuses requests while the server has too much to do.
	Breaker Breaker `key:"breaker"`
	// Queue is where requests wait that are beyond these bounds of downloads.
	Queue Queue `key:"queue"`
}

// ClientAdmission bounds each client.
type ClientAdmission struct {
	// Requests is how many requests of a client are answered: 50/s, 600/min, 1000/h, and
	// how many of them may come at once: 50/s burst 200. What is beyond that gets 429 with
	// the time after which it will be answered; unlimited is no bound. Default: none.
	Requests RequestRate `key:"requests" flag:"limit-requests" live:"yes" help:"requests of each client that are answered, like '50/s burst 200' (default: no bound)"`
	// Downloads is how many responses to a client may be under way at a time, at most 65535.
	// What is beyond them waits in the queue, or gets 429. Default: 0, no bound.
	Downloads int `key:"downloads" flag:"max-client-downloads" live:"yes" help:"responses to each client that may be under way at a time (default: no bound)"`
}

// PathAdmission bounds what begins with a path.
type PathAdmission struct {
	// Requests is how many requests are answered, of all clients together, as that of each client.
	// Default: none.
	Requests RequestRate `key:"requests"`
	// Downloads is how many responses may be under way at a time. Default: 0, no bound.
	Downloads int `key:"downloads"`
}

// Breaker says what is too much to do. Requests of the lowest tier are then answered 503, each second those
// of one tier more if that is not enough, and in the end four in five of the highest. What is under way goes
// on. Without tiers it is four in five of all requests.
type Breaker struct {
	// LoopLag is how late the event loops may be, for three tenths of a second: 50ms. Default: 0s, that
	// is not looked at.
	LoopLag time.Duration `key:"loop_lag" flag:"breaker-loop-lag" live:"yes" help:"how late event loops may be before requests are refused, like 50ms (default: not looked at)"`
	// Descriptors is how many of those that the process may have may be in use: 95%. Default: 100%, that
	// is not looked at.
	Descriptors Percent `key:"descriptors" flag:"breaker-descriptors" live:"yes" help:"part of the descriptors that may be in use before requests are refused, like 95%"`
	// Memory is how much of GOMEMLIMIT may be in use, and of the limit of the control group apart from
	// pages of files: 95%. Default: 100%, that is not looked at.
	Memory Percent `key:"memory" flag:"breaker-memory" live:"yes" help:"part of the memory that may be in use before requests are refused, like 95%"`
	// Profiles are profiles of limits that open the breaker while they are in force. Default: none.
	Profiles []string `key:"profiles" flag:"breaker-profile" sep:"," live:"yes" help:"profiles of limits that refuse requests while they are in force; repeatable"`
}

// breaker returns the Breaker as a server has it.
func (b *Breaker) breaker() server.Breaker {
	part := func(p Percent) float64 {
		if p >= 1 {
			return 0 // more cannot be in use
		}
		return float64(p)
	}
	return server.Breaker{LoopLag: b.LoopLag, Descriptors: part(b.Descriptors), Memory: part(b.Memory), Profiles: b.Profiles}
}

// Queue is where requests wait.
type Queue struct {
	// Length is how many requests of a client may wait; 0: none, what is beyond a bound is
	// refused at once. Default: 16, so that download managers do not fail.
	Length int `key:"length" flag:"download-queue" live:"yes" help:"requests of a client that wait for one of its downloads to end; 0: none"`
	// Wait is how long a request waits at most. Default: 15s.
	Wait time.Duration `key:"wait" flag:"download-wait" live:"yes" help:"how long a request waits for a download to end"`
}

// policy returns the bounds as a server has them.
func (a *Admission) policy() server.Admission {
	paths := make(map[string]server.AdmissionPath)
	for prefix, b := range a.Paths {
		paths[prefix] = server.AdmissionPath{Requests: b.Requests.rate(), Downloads: b.Downloads}
	}
	return server.Admission{
		Fields: server.AdmissionFields(a.Fields), Paths: paths, Requests: a.Client.Requests.rate(), ClientDownloads: a.Client.Downloads, Downloads: a.Downloads,
		QueueLength: a.Queue.Length, QueueWait: a.Queue.Wait,
	}
}

func (v *validator) admission() {
	a := &v.Admission
	for path, n := range map[string]int{"admission.downloads": a.Downloads, "admission.client.downloads": a.Client.Downloads, "admission.queue.length": a.Queue.Length} {
		if n < 0 {
			v.form(path, "%d: must not be negative", n)
		}
	}
	for prefix, b := range a.Paths {
		at := "admission.paths[" + prefix + "]"
		if err := shape.CheckPrefix(prefix); err != nil {
			v.form(at, "%q: %v", prefix, err)
		}
		if b.Downloads < 0 {
			v.form(at+".downloads", "%d: must not be negative", b.Downloads)
		}
	}
	if a.Breaker.LoopLag < 0 {
		v.form("admission.breaker.loop_lag", "%v: must not be negative", a.Breaker.LoopLag)
	}
	for path, p := range map[string]Percent{"admission.breaker.descriptors": a.Breaker.Descriptors, "admission.breaker.memory": a.Breaker.Memory} {
		if p <= 0 {
			v.form(path, "%v: that is always in use", p)
		}
	}
	for i, name := range a.Breaker.Profiles {
		if _, ok := v.Profiles[name]; !ok {
			v.form(element("admission.breaker.profiles", i), "there is no profile %q", name)
		}
	}
	if a.Queue.Wait <= 0 {
		v.form("admission.queue.wait", "%v: --download-wait must be a positive duration like 15s", a.Queue.Wait)
	}
	v.sense("admission.client.downloads", (&server.Admission{ClientDownloads: max(a.Client.Downloads, 0)}).Validate())
}

// RateFields says which answers have RateLimit fields.
type RateFields server.AdmissionFields

// RequestRate is how many requests are answered, as server.ParseRequestRate reads it; empty:
// no bound.
type RequestRate string

// Set reads a rate of requests.
func (r *RequestRate) Set(s string) error {
	var rate server.RequestRate
	if s != "" {
		var err error
		if rate, err = server.ParseRequestRate(s); err != nil {
			return err
		}
	}
	if *r = ""; rate != (server.RequestRate{}) {
		*r = RequestRate(rate.String())
	}
	return nil
}

// rate returns what Set has read.
func (r RequestRate) rate() (rate server.RequestRate) {
	if r != "" {
		rate, _ = server.ParseRequestRate(string(r))
	}
	return rate
}
