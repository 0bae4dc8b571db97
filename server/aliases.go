package server

import (
	"context"
	"io"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/breaker"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/foreign"
	"github.com/fserve/fserve/server/http1"
	"github.com/fserve/fserve/server/link"
	"github.com/fserve/fserve/server/quota"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/release"
	"github.com/fserve/fserve/server/site"
)

// What embedders need of the packages below has its name here, too, so that they import
// this one alone.
type (
	// Site says how files are answered.
	Site = site.Site
	// Host is a Site found by the name that a request is for.
	Host = site.Host
	// Location is a Site for the paths below a prefix.
	Location = site.Location
	// HeaderRule adds a field to responses.
	HeaderRule = site.HeaderRule
	// Page is the body of failures.
	Page = site.Page
	// Redirect sends clients elsewhere.
	Redirect = site.Redirect
	// Respond is an answer without a file.
	Respond = site.Respond
	// Fault is site.Fault: errors of New, Check and Swap have those about files.
	Fault = site.Fault

	// Access says which clients are answered.
	Access = admit.Access
	// Networks is a set of addresses.
	Networks = admit.Networks
	// Trust says whose word on a client's address is taken.
	Trust = admit.Trust
	// ClientField selects the field in which trusted proxies name their clients.
	ClientField = admit.ClientField

	// Admission bounds what clients may ask for.
	Admission = admit.Policy
	// AdmissionPath are the bounds of what begins with a path.
	AdmissionPath = admit.PathBounds
	// AdmissionFields says which answers tell clients what they have left.
	AdmissionFields = admit.Fields
	// AdmissionControl admits requests.
	AdmissionControl = admit.Control
	// AdmissionReason is why a request is not admitted.
	AdmissionReason = admit.Reason
	// Breaker says when a server has too much to do.
	Breaker = breaker.Config
	// BreakerState is a state of it.
	BreakerState = breaker.State
	// BreakerOrder is what an operator has ordered.
	BreakerOrder = breaker.Order
	// BreakerStatus is whom it refuses, and why.
	BreakerStatus = breaker.Status
	// Identity says how requests prove who asks, beside passwords.
	Identity = auth.Config
	// IdentityLinks are the keys of signed links.
	IdentityLinks = auth.Links
	// Denial takes back what a proof says.
	Denial = auth.Denial
	// IdentityMethods are those of an Identity, with their keys.
	IdentityMethods = auth.Methods
	// Tier is what each user of a kind gets.
	Tier = auth.Tier
	// IdentityIssuer is one whose tokens are believed.
	IdentityIssuer = auth.Issuer
	// Ways are those in which a request may prove who asks.
	Ways = auth.Ways
	// LinkKey makes signed links.
	LinkKey = link.Key
	// LinkPolicy is what a signed link allows.
	LinkPolicy = link.Policy
	// Quota is how many bytes a user may have in a day or a month.
	Quota = quota.Limit
	// Release is what is served in several versions.
	Release = release.Config
	// ReleaseVersion is one of them.
	ReleaseVersion = release.Version
	// ReleaseStep is a share of its canary.
	ReleaseStep = release.Step
	// ReleaseChange is what has happened to it.
	ReleaseChange = release.Change
	// ReleaseRollback says when its canary is taken back.
	ReleaseRollback = release.Rollback
	// ReleaseOverride says who gets a version of it whatever its share is.
	ReleaseOverride = release.Override
	// ReleaseSubject is what tells its clients apart.
	ReleaseSubject = release.Subject
	// RequestRate is how many requests of a client are answered.
	RequestRate = admit.Rate
	// Judgement is what a request was refused by, as SessionStats.Denied counts it.
	Judgement = admit.Judgement

	// Route is a handler for the paths that begin with a prefix.
	Route = http1.Route

	// Handler answers requests for files on the goroutines of other servers.
	Handler = foreign.Handler
	// Caller is who asks.
	Caller = foreign.Caller
	// Query is a request to a Handler.
	Query = foreign.Query
	// Answer is a Handler's response to a Query.
	Answer = foreign.Answer

	// AccessLog writes a line for each response.
	AccessLog = record.AccessLog
	// AccessLogs are the access logs of Sites.
	AccessLogs = record.Logs
	// LogFormat is how an AccessLog writes its lines.
	LogFormat = record.LogFormat
	// LogTarget says where an access log goes.
	LogTarget = record.Target
	// LogEscape is what becomes of bytes that could break a line.
	LogEscape = record.Escape
	// Histogram counts times.
	Histogram = record.Histogram
	// HostStats are the responses of a host.
	HostStats = record.HostStats
	// CompressStats are what was compressed.
	CompressStats = compress.Stats
	// SessionStats are a loop's counters of requests.
	SessionStats = record.Stats
)

const (
	Admitted             = admit.Admitted
	FieldsOff            = admit.FieldsOff
	FieldsNear           = admit.FieldsNear
	FieldsAlways         = admit.FieldsAlways
	NumBreakerStates     = int(breaker.NumStates)
	NumAdmissionReasons  = int(admit.NumReasons)
	ClientFieldAuto      = admit.ClientFieldAuto
	ClientFieldForwarded = admit.ClientFieldForwarded
	ClientFieldXFF       = admit.ClientFieldXFF
	ClientFieldXRealIP   = admit.ClientFieldXRealIP

	ByLink  = auth.ByLink
	ByKey   = auth.ByKey
	ByToken = auth.ByToken

	LogCombined = record.LogCombined
	LogJSON     = record.LogJSON

	EscapeDefault = record.EscapeDefault
	EscapeJSON    = record.EscapeJSON
	EscapeNone    = record.EscapeNone

	HistogramBuckets = record.HistogramBuckets
)

// DenialKinds is auth.DenialKinds.
var DenialKinds = auth.DenialKinds

var (
	// ErrFileChanged is foreign.ErrFileChanged.
	ErrFileChanged = foreign.ErrFileChanged
	// ErrNoRoute is http1.ErrNoRoute.
	ErrNoRoute = http1.ErrNoRoute
)

// ServeFile is http1.ServeFile: it makes the response to ctx the file at path, for
// handlers of a Route.
func ServeFile(ctx *fasthttp.RequestCtx, path string) error { return http1.ServeFile(ctx, path) }

// CallerOf is foreign.CallerOf.
func CallerOf(ctx context.Context) Caller { return foreign.CallerOf(ctx) }

// SetClient is http1.SetClient: it names whom the response to ctx is counted by.
func SetClient(ctx *fasthttp.RequestCtx, id string) error { return http1.SetClient(ctx, id) }

// SetLimit is http1.SetLimit: it limits the response to ctx.
func SetLimit(ctx *fasthttp.RequestCtx, l shape.Limit) error { return http1.SetLimit(ctx, l) }

// ParseNetworks is admit.ParseNetworks.
func ParseNetworks(list []string) (Networks, error) { return admit.ParseNetworks(list) }

// ParseRequestRate is admit.ParseRate.
func ParseRequestRate(s string) (RequestRate, error) { return admit.ParseRate(s) }

// ParseQuota is quota.ParseLimit.
func ParseQuota(s string) (Quota, error) { return quota.ParseLimit(s) }

// ParseTrust is admit.ParseTrust.
func ParseTrust(list []string) (Trust, error) { return admit.ParseTrust(list) }

// CheckAccessRule reports what is wrong with one of Site.Referers, or with one of AllowAgents
// and DenyAgents.
func CheckAccessRule(referer bool, rule string) (err error) {
	if referer {
		_, err = admit.NewReferers([]string{rule}, nil)
	} else {
		_, err = admit.NewAgents(nil, []string{rule})
	}
	return err
}

// CheckSecureLink reports what is wrong with Site.SecureLink and SecureLinkMD5.
func CheckSecureLink(value, text string) error {
	_, err := link.NewMD5(value, text)
	return err
}

// CheckHostName is site.CheckHostName.
func CheckHostName(name string) (same string, err error) { return site.CheckHostName(name) }

// CheckMatch is site.CheckMatch.
func CheckMatch(s string) error { return site.CheckMatch(s) }

// NewAccessLog is record.NewAccessLog.
func NewAccessLog(w io.Writer) *AccessLog { return record.NewAccessLog(w) }

// NewAccessLogIn is record.NewAccessLogIn.
func NewAccessLogIn(f LogFormat, w io.Writer) *AccessLog { return record.NewAccessLogIn(f, w) }

// OpenAccessLog is record.OpenAccessLog.
func OpenAccessLog(t LogTarget) (*AccessLog, error) { return record.OpenAccessLog(t) }

// NewAccessLogs is record.NewLogs.
func NewAccessLogs() *AccessLogs { return record.NewLogs() }

// HistogramBound is record.HistogramBound.
func HistogramBound(i int) float64 { return record.HistogramBound(i) }

// HistogramIndex is record.HistogramIndex.
func HistogramIndex(i int) int { return record.HistogramIndex(i) }
