// Package resolve decides what a request is answered with. It does no I/O: an Answer
// says what it needs next (see Step), is told what that gave, and ends with a plan.
// So event loops, which must not wait, and goroutines, which may, give the same
// answers in the same order of decisions:
//
//	the place of the path            by host and location
//	who the client is                403, 401
//	a handler's route                the driver's
//	a redirect or an answer          as the place says
//	method                           204, 405, 501
//	the version of a release         by who asks, or by the tag of a resume
//	no host for the request          421
//	no root, or a hidden path        404
//	what the place tries, in turn    a file, a directory, another path, a failure
//	the file, of a directory its index files in turn
//	a directory without its slash    301
//	a location below the path        301
//	a directory without an index     its listing, or 403
//	a sidecar that the client likes  itself
//	what is worth compressing        compressed, or 406
//	preconditions and ranges         304, 412, 206, 416
//	of failures the error page
//	the fields of header rules
package resolve

import (
	"syscall"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/site"
)

// Step is what an Answer needs next.
type Step uint8

const (
	// Identify: who the client is. Call Admit. It may come again, with Route, for another path
	// than that of the request.
	Identify Step = iota
	// Prove: who asks, as Place.Wants says, and whether the password of the request is that of one of
	// Place.Users. Call Proved.
	Prove
	// Route: the client is admitted, the path is in Request. A handler may take the
	// request; if none does, call File.
	Route
	// Chooses: the version of Place.Release that answers. Call Choose.
	Chooses
	// Open: the file in Want. Call Opened.
	Open
	// List: the directory of the path, as View says. Call Listed, or Fail if that
	// cannot be done now.
	List
	// Compress: SourceOf the Answer in Coding. Call Compressed.
	Compress
	// Send: the time. The representation is chosen; call Decide. Who has the answer
	// to a plain request rendered already may send that instead.
	Send
	// Done: nothing. Plan is complete; Chosen tells of which file its segments are.
	Done
)

const (
	statusMisdirected = 421
	// dirItself is the candidate that a directory is when it has no index.
	dirItself = -1
	// notTrying is the turn of a path that is not of Place.Try.
	notTrying = -1
)

// Answer is how one request is answered. It is reused by Begin, and belongs to one
// goroutine.
type Answer struct {
	// Request is filled before Begin, all but its Path: that is the normalised one,
	// once it is known.
	Request httpfile.Request
	Plan    httpfile.Plan
	Place   *site.Place     // that the request belongs to
	Want    Want            // Open
	View    listing.View    // List
	Coding  httpfile.Coding // Compress
	Chosen  Kind            // the file that is sent
	// Body is what is sent if Chosen is Made. It is retained for the driver.
	Body    *compress.Body
	Version *Version // of what is chosen, from Send on
	Fields  []byte   // lines that a handler adds to the response, each with its CRLF
	// Cause is why there is no file, where an operator would want to know; 0: there is one,
	// or nothing of the name. EISDIR: it is a directory, which is not listed. Whoever tells
	// the operator sets it to 0.
	Cause syscall.Errno
	// Unused is a file that is there and cannot be had, and that the answer goes on without: a
	// sidecar, or the page of a failure. Whoever tells the operator empties it.
	Unused Unused
	// Encrypted is set, before Start or Resume, for a request that came by TLS.
	Encrypted bool
	// At is the listener of the request, as site.Set.Find has it. It is set before Start or Resume.
	At int
	// Refused is what the request was refused by. Whoever tells the operator sets it to Admitted.
	Refused admit.Judgement

	set      *site.Set
	host     []byte
	now      int64  // monotonic ns
	accepts  []byte // Accept-Encoding, which counts where there are sidecars
	turn     int    // which of Place.Try it is; notTrying: none
	other    bool   // it is another path than that of the request already
	paged    bool   // an error page was answered as if it had been asked for
	tried    []byte // path that is tried, as that of the request
	index    int    // which candidate is wanted, for the path that is tried
	base     Want   // of the source
	source   *Version
	refused  bool // of what there is the client accepts nothing: if there is a choice
	choice   [numCoding]httpfile.Coding
	codings  []httpfile.Coding // the sidecars that may be there, in choice
	path     []byte            // memory of Request.Path
	keys     [2][]byte         // memory of keys, of sources and sidecars
	picked   picked            // of a release
	lastHost site.LastHost
	memory   []byte // of tried, and of URLs
}

// Unused is a file that an answer goes on without, by its path, and why. Cause 0: there is none.
type Unused struct {
	Path  string
	Cause syscall.Errno
}

// without notes that the file which is wanted cannot be had.
func (a *Answer) without(e syscall.Errno) {
	if !ordinary(e) {
		a.Unused = Unused{string(a.Want.path) + a.Want.Coding.Ext(), e}
	}
}

// Begin begins the answer to Request, for a host of set. What the Request refers to, and
// host, must stay until the answer is Done. now is in monotonic ns.
func (a *Answer) Begin(set *site.Set, host []byte, now int64) {
	a.set, a.host, a.now = set, host, now
	a.accepts, a.Fields, a.Chosen, a.Cause, a.Refused = a.Request.AcceptEncoding, nil, None, 0, admit.Passed
	a.Unused = Unused{}
	a.turn, a.other, a.paged = notTrying, false, false
	a.picked = picked{path: a.picked.path[:0]}
}

// Start decides about a path as it came, percent-encoded; nil: the request has none,
// as OPTIONS *.
func (a *Answer) Start(path []byte) Step {
	if path == nil {
		a.Locate(nil)
		return a.decline()
	}
	clean, err := httpfile.NormalizePath(a.path, path)
	if err != nil {
		a.Locate(nil)
		return a.Fail(httpfile.StatusBadRequest)
	}
	if len(path) > 0 && &clean[0] != &path[0] {
		a.path = clean[:0] // it is in memory of the Answer
	}
	a.Locate(clean)
	if a.Place.Policy.Refuses(path) {
		return a.Fail(httpfile.StatusBadRequest)
	}
	if a.Place.Guard != nil {
		return Identify
	}
	return Route
}

// Locate makes path, which is normalised, that of the request, and finds its place;
// nil: that of its host.
func (a *Answer) Locate(path []byte) {
	a.Request.Path = path
	a.enter(a.set.Find(&a.lastHost, a.At, a.host, path))
}

// enter makes p the place of the request.
func (a *Answer) enter(p *site.Place) {
	a.Place, a.Request.AcceptEncoding = p, nil
	if p.Precompressed || p.Policy.Compresses() {
		a.Request.AcceptEncoding = a.accepts
	}
}

// Admit goes on after Identify.
func (a *Answer) Admit(v *admit.Visitor) Step { return a.judge(a.Place.Guard.Admit(v)) }

// Proved goes on after Prove: Admitted, or what the request is refused by.
func (a *Answer) Proved(v admit.Judgement) Step { return a.judge(v) }

func (a *Answer) judge(v admit.Judgement) Step {
	switch v {
	case admit.Passed:
		return Route
	case admit.Unproven:
		return Prove
	}
	a.Refused = v
	status := httpfile.StatusForbidden
	switch v {
	case admit.Repeated:
		status = httpfile.StatusBadRequest
	case admit.ExpiredLink:
		status = httpfile.StatusGone
	case admit.NoPassword, admit.WrongPassword, admit.BadKey, admit.BadToken, admit.ExpiredToken:
		status = httpfile.StatusUnauthorized
	case admit.NoCredential:
		if a.Place.Bearer != "" { // a link is not what a client could be challenged for
			status = httpfile.StatusUnauthorized
		}
	case admit.Crowded, admit.NoKeys:
		status = httpfile.StatusServiceUnavailable
	case admit.Insistent:
		status = httpfile.StatusTooManyRequests
	}
	a.Plan.Fail(status, &a.Request, a.Place.Policy)
	if status == httpfile.StatusUnauthorized {
		a.Plan.Challenge = a.challenge(v)
	}
	return a.finish()
}

// challenge returns what is asked for with 401 (RFC 7617, RFC 6750).
func (a *Answer) challenge(v admit.Judgement) string {
	switch v {
	case admit.NoCredential:
		return a.Place.Bearer
	case admit.BadKey, admit.BadToken:
		return a.Place.Bearer + `, error="invalid_token"`
	case admit.ExpiredToken:
		return a.Place.Bearer + `, error="invalid_token", error_description="it has expired"`
	}
	return a.Place.Challenge
}

// File decides about the file of the path, in the place where Locate has found it.
func (a *Answer) File() Step {
	if a.Place.Answers {
		if step, ok := a.answered(); ok {
			return step
		}
	}
	if a.Place.Chooses() {
		return pick(a)
	}
	return inPlace(a)
}

// inPlace decides about the file of the path in the place.
func inPlace(a *Answer) Step {
	q := &a.Request
	switch {
	case q.Method != httpfile.MethodGet && q.Method != httpfile.MethodHead:
		return a.decline()
	case a.Place.Astray:
		return a.Fail(statusMisdirected)
	case a.Place.Root == nil && a.Place.FS == nil || a.Place.Policy.Hidden(q.Path):
		return a.failErrno(syscall.ENOENT)
	}
	if a.Place.Try != nil && !a.other {
		return a.attempt(0)
	}
	a.tried = q.Path
	return a.try(0)
}

// ofDirectory reports whether the path that is tried is that of a directory.
func (a *Answer) ofDirectory() bool { return a.tried[len(a.tried)-1] == '/' }

// try wants the i-th candidate: of a directory its index files, else the file itself.
func (a *Answer) try(i int) Step {
	path, p := a.tried, a.Place
	key := path
	switch dir := a.ofDirectory(); {
	case dir && i >= len(p.Index):
		return a.bare()
	case dir:
		key = append(a.key(path), p.Index[i]...)
		a.keys[0] = key
	case !p.PathIsKey():
		key = a.key(path)
	}
	a.index = i
	a.Want.source(p, key)
	return Open
}

// key returns the key of a path in memory of the Answer.
func (a *Answer) key(path []byte) []byte {
	a.keys[0] = a.Place.AppendKey(a.keys[0][:0], path)
	return a.keys[0]
}

// bare answers for a directory without an index: by its listing, or by 403 if there
// is such a directory, 404 if there is not.
func (a *Answer) bare() Step {
	a.index = dirItself
	if a.Place.Listing {
		var ok bool
		if a.View, ok = listing.ParseView(string(a.Request.Query)); !ok {
			return a.failErrno(syscall.ENOENT)
		}
		return List
	}
	// The slash at the end makes a file ENOTDIR: nothing is ever open.
	a.Want.source(a.Place, a.key(a.tried))
	return Open
}

// Opened goes on after Open: v is a version of the file that is wanted, or e says why
// there is none, as openfile.Files.Open does.
func (a *Answer) Opened(v *Version, e syscall.Errno) Step {
	switch a.Want.Kind {
	case Sidecar:
		return a.openedSidecar(v, e)
	case Page:
		return a.openedPage(v, e)
	}
	// A link that is not followed is as if it were not there.
	switch dir, missing := a.ofDirectory(), e == syscall.ENOENT || e == syscall.EXDEV; {
	case a.index == dirItself:
		if e == syscall.EISDIR {
			a.Cause = e
			return a.Fail(httpfile.StatusForbidden)
		}
	case dir && (missing || e == syscall.EISDIR):
		return a.try(a.index + 1)
	case e == 0 && dir && a.Place.Elsewhere(a.Place.PathOf(a.Want.Key)):
		return a.goTo(append(a.path[:0], a.Place.PathOf(a.Want.Key)...))
	case e == 0 && a.turn != notTrying && a.Place.GuardedElsewhere(a.tried):
		return a.goTo(append(a.path[:0], a.tried...))
	case e == 0 && (dir || a.takes(site.AttemptFile)):
		return a.found(v)
	case (e == syscall.EISDIR || missing && a.Place.LeadsToLocation(a.tried)) && a.takes(site.AttemptDir):
		a.Plan.RedirectDir(&a.Request, a.Place.Policy)
		return a.finish()
	}
	return a.missed(e)
}

// Directory returns the directory that List is about.
func (a *Answer) Directory() listing.Directory {
	p, path := a.Place, string(a.Request.Path)
	d := listing.Directory{
		Root: p.Root, FS: p.FS, Below: p.Below(path), Path: path, Host: p.HostName(), Owner: p, Shows: p.Shows, PageEntries: p.ListingPage, Policy: p.Policy,
	}
	if p.Policy.Compresses() {
		if k := httpfile.Negotiate(a.Request.AcceptEncoding, httpfile.MadeOrder); k != httpfile.NotAcceptable {
			d.Coding = k
		}
	}
	return d
}

// Listed goes on after List: with a page, or with what went wrong.
func (a *Answer) Listed(page *listing.Page, e syscall.Errno) Step {
	if e != 0 {
		return a.missed(e)
	}
	a.Plan.Content(&a.Request, a.Place.Policy, page.Type, page.Body)
	a.Plan.Extra = site.AddMissing(page.Fields, a.Place.Lines(string(a.Request.Path)))
	return a.finish()
}

// Decide goes on after Send. now is in Unix ns; entropy is of use only to requests with
// a Range.
func (a *Answer) Decide(now int64, entropy httpfile.Entropy) Step {
	if a.picked.searching && !a.Request.IsOf(a.Version.Facts) {
		return nextVersion(a)
	}
	endSearch(a)
	a.Plan.Decide(&a.Request, a.Version.Facts, now, entropy)
	a.Plan.Extra = a.Version.Lines
	return a.finish()
}

// decline answers a method that is not for files.
func (a *Answer) decline() Step {
	a.Plan.Decline(&a.Request, a.Place.Policy)
	return a.finish()
}

func (a *Answer) failErrno(e syscall.Errno) Step {
	if !ordinary(e) {
		a.Cause = e
	}
	status := httpfile.StatusOfErrno(e)
	if status == httpfile.StatusServiceUnavailable {
		return a.FailFor(status, "descriptors", 1)
	}
	return a.Fail(status)
}

// ordinary reports whether an error is everyday life: of names that are not there, and of
// files that are being written.
func ordinary(e syscall.Errno) bool {
	switch e {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ETXTBSY, syscall.EAGAIN:
		return true
	}
	return false
}

// Fail answers with a status from 400 on.
func (a *Answer) Fail(status int) Step {
	a.Plan.Fail(status, &a.Request, a.Place.Policy)
	return a.finish()
}

// FailFor is Fail for a request that was refused by a policy and may be made again, in so many seconds.
func (a *Answer) FailFor(status int, policy string, seconds int) Step {
	a.Plan.Fail(status, &a.Request, a.Place.Policy)
	a.Plan.Violates(&a.Request, policy, seconds)
	return a.finish()
}

// TooMany answers a request that is not admitted.
func TooMany(a *Answer, r *admit.Refusal) Step {
	status := httpfile.StatusServiceUnavailable
	if r.Reason.OfClient() {
		status = httpfile.StatusTooManyRequests
	}
	return a.FailFor(status, r.Reason.String(), admit.RetryAfter(r.Wait))
}

// Refuse is Fail for a request that could not be read, or only in part: nothing but
// the method is believed of it.
func (a *Answer) Refuse(status int, m httpfile.Method) Step {
	a.Request, a.Fields = httpfile.Request{Method: m}, nil
	return a.Fail(status)
}

// finish wants the page of the configuration for a failure.
func (a *Answer) finish() Step {
	if a.Plan.Status < httpfile.StatusBadRequest {
		return a.done()
	}
	if a.picked.searching {
		return nextVersion(a)
	}
	a.Chosen = None // a planned failure sends nothing of the file
	page := a.Place.ErrorPage(a.Plan.Status)
	if page == nil || a.Plan.IsProblem() {
		return a.done()
	}
	a.Want.page(page)
	return Open
}

// openedPage puts the page into the planned failure. A page that cannot be had leaves
// the short text: a failure never leads to another.
func (a *Answer) openedPage(v *Version, e syscall.Errno) Step {
	if e != 0 {
		a.without(e)
		return a.done()
	}
	a.Chosen = Page
	status := a.Place.ErrorPage(a.Plan.Status).Status
	if m := a.Request.Method; status == httpfile.StatusOK && !a.paged && (m == httpfile.MethodGet || m == httpfile.MethodHead) {
		a.paged, a.Version = true, v
		return Send
	}
	a.Plan.UsePage(&a.Request, v.Facts)
	if status >= httpfile.StatusBadRequest {
		a.Plan.Status = status
	}
	return a.done()
}

// Secure returns the lines that the answer has because it is encrypted.
func (a *Answer) Secure() []byte {
	if !a.Encrypted {
		return nil
	}
	return a.Place.HSTS
}

// done adds the fields that are not of the plan: a handler's, then those of the rules.
// The plan has the latter if they are known, otherwise they are found by the path.
func (a *Answer) done() Step {
	a.Plan.Secure = a.Secure()
	rules := a.Plan.Extra
	if rules == nil {
		rules = a.Place.Lines(string(a.Request.Path))
	}
	switch own := a.Fields; {
	case len(own) == 0:
		a.Plan.Extra = rules
	case len(rules) == 0:
		a.Plan.Extra = own
	default:
		a.Plan.Extra = site.AddMissing(own[:len(own):len(own)], rules)
	}
	return Done
}
