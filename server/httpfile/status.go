package httpfile

import (
	"strconv"
	"syscall"
)

// Status codes that this package plans.
const (
	StatusOK                  = 200
	StatusNoContent           = 204
	StatusPartialContent      = 206
	StatusMovedPermanently    = 301
	StatusFound               = 302
	StatusSeeOther            = 303
	StatusNotModified         = 304
	StatusTemporaryRedirect   = 307
	StatusPermanentRedirect   = 308
	StatusBadRequest          = 400
	StatusUnauthorized        = 401
	StatusForbidden           = 403
	StatusNotFound            = 404
	StatusMethodNotAllowed    = 405
	StatusNotAcceptable       = 406
	StatusGone                = 410
	StatusPreconditionFailed  = 412
	StatusRangeNotSatisfiable = 416
	StatusTooManyRequests     = 429
	StatusInternalServerError = 500
	StatusNotImplemented      = 501
	StatusServiceUnavailable  = 503
	statusLimit               = 600
	statusLinePrefix          = "HTTP/1.1 "
	statusLineSuffix          = "\r\nDate: "
)

// reasons are the codes that can be sent.
var reasons = map[int]string{
	200: "OK", 204: "No Content", 206: "Partial Content",
	301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
	307: "Temporary Redirect", 308: "Permanent Redirect",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
	405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout",
	409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed",
	413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
	416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request",
	425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required",
	429: "Too Many Requests", 431: "Request Header Fields Too Large",
	451: "Unavailable For Legal Reasons",
	500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
	503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
	507: "Insufficient Storage",
}

// Sends reports whether a code can be sent.
func Sends(code int) bool { return reasons[code] != "" }

// statusText is a code's text, rendered once. The bodies are shared and must not be changed.
type statusText struct {
	line string // up to the value of Date
	note []byte // the short body
	page []byte // the body for those who prefer HTML; nil: the code is not of a failure
	// problem is the body for those who prefer JSON, likewise.
	problem []byte
}

var statusTexts = renderStatuses()

func renderStatuses() (texts [statusLimit]*statusText) {
	for code, reason := range reasons {
		name := strconv.Itoa(code) + " " + reason
		texts[code] = &statusText{
			line: statusLinePrefix + name + statusLineSuffix,
			note: []byte(name + "\n"),
		}
		if code >= StatusBadRequest {
			texts[code].page = failurePage(code, reason)
			texts[code].problem = renderProblem(code, "about:blank", "")
		}
	}
	return texts
}

// known returns code, or 500 if this package cannot send it.
func known(code int) int {
	if code < 0 || code >= statusLimit || statusTexts[code] == nil {
		return StatusInternalServerError
	}
	return code
}

// StatusOfErrno returns the status for an error of opening or reading a file.
func StatusOfErrno(e syscall.Errno) int {
	switch e {
	case 0:
		return StatusOK
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG,
		syscall.EXDEV,                 // openat2: the path leaves the root (RESOLVE_BENEATH)
		syscall.ENXIO, syscall.ENODEV: // a socket, or a device without driver
		return StatusNotFound
	case syscall.EACCES,
		syscall.ELOOP: // too many links, or openat2 under RESOLVE_NO_SYMLINKS or NO_MAGICLINKS
		return StatusForbidden
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ETXTBSY, // it is being written
		syscall.EBUSY,   // openfile.Opening: the file system is slow, or another process has a lease
		syscall.EAGAIN:  // openat2: a rename raced with the walk, the next try may succeed
		return StatusServiceUnavailable
	}
	return StatusInternalServerError
}
