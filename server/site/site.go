// Package site compiles what is said about hosts and locations: which place a
// request belongs to, and how the files there are answered.
package site

import (
	"cmp"
	"io/fs"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/record"
)

// Site is how files are answered: those of the requests that no Host is for (in a
// Config), of a Host, or of a Location. A Site takes nothing from the one around
// it, but error pages.
type Site struct {
	// Root is the directory that is served. Empty: everything is 404, or in a Config
	// with Hosts 421.
	Root string
	// Release is the name of a release, one of Compiler.Releases, whose versions take the place of
	// Root. Empty: none.
	Release string
	// FS has the files in place of Root, those of an embed.FS for example. It is for Handlers
	// (server.NewHandler, nethttp.New) only, which read from it as from any io.Reader: nothing of it is
	// sent without copying or kept in memory. A file without a time of modification, as those of
	// embed.FS, is taken never to change, and has a tag of its content, which is read whole for that
	// when it is first asked for; so has every file with ContentTags. A file that cannot seek is read
	// up to the range that is asked for. Nothing is compressed on the way: see Precompressed.
	FS fs.FS
	// Symlinks says which symbolic links below Root are followed. Default:
	// those that stay inside.
	Symlinks openfile.Symlinks
	// Index are the names tried in a directory, in order. Default: index.html.
	Index []string
	// Files decides about headers of file responses; see httpfile.Config. Its
	// rules are about paths as they are requested, the location's prefix included.
	Files httpfile.Config
	// Precompressed sends f.br, f.zst or f.gz, if it is beside f and not older,
	// to clients that accept the coding.
	Precompressed bool
	// Consistency is what keeps a response from joining two versions of a file that is
	// written to in place.
	Consistency openfile.Consistency
	// ContentTags makes tags of the SHA-256 of the content, so that they are equal on every
	// origin: of what the extended attributes user.shatag.sha256 and user.shatag.ts say, or
	// the file f.sha256 beside f. Where they say nothing, there is no tag.
	ContentTags bool
	// Growing are patterns, as those of Files, of what is only ever appended to: logs,
	// recordings. A response has the length that the file had when it began.
	Growing []string
	// WriteWait is how long a request waits for a file that is being written. 0: not at
	// all. Negative: it is answered 503.
	WriteWait time.Duration
	// Listing answers for directories without an index with what is in them,
	// as HTML or JSON. Otherwise they are 403.
	Listing bool
	// ListingPage is how many entries a page of a listing has that is asked for by its
	// number (?page=2); without one all are listed. Default: 1,000.
	ListingPage int
	// ErrorPages are the bodies of failures by status. Handlers make their own. nil:
	// those of the Host, of a Host those of the Config.
	ErrorPages map[int]Page
	// Redirect and Respond answer in place of files; Redirect comes first. Both are for all
	// methods.
	Redirect Redirect
	Respond  Respond
	// Try is what is looked for, in order, in place of the path of the request: $uri, that
	// path if it is a file; $uri/, if it is a directory; $uri with something before or behind
	// it; another path. The last may be a path, which is answered as if it had been asked
	// for, or the status of a failure: =404.
	Try []string
	// Headers adds fields to responses. Its patterns are as those of Files.
	Headers []HeaderRule
	// HSTS is the value of Strict-Transport-Security in all encrypted answers, and in no others.
	// Empty: the field is not sent.
	HSTS string
	// Access says which clients are answered; the others get 403, before anything
	// is opened or a handler is called.
	Access admit.Access
	// Referers says which pages may refer here, see admit.NewReferers; nil: all.
	Referers []string
	// AllowAgents and DenyAgents say which programs are answered, see admit.NewAgents.
	AllowAgents, DenyAgents []string
	// PasswordFile has the users who are answered, see package auth; the others get 401. It is
	// read anew when it changes. Empty: no password is asked for.
	PasswordFile string
	// Realm is what clients tell their users that the password is for. Default: the name of the
	// host.
	Realm string
	// Either answers also whom Access lets in and who has neither a password nor a credential.
	Either bool
	// Require are the ways, of which a request needs one, to prove who asks; 0: it need not. What is
	// answered then has Cache-Control: private, unless Files says otherwise.
	Require auth.Ways
	// SecureLink and SecureLinkMD5 are the values of nginx's secure_link and secure_link_md5, see
	// link.NewMD5. Empty: no such link is asked for.
	SecureLink, SecureLinkMD5 string
	// Class is the path by which responses find their class of limits. Empty: the
	// path of the request.
	Class string
	// AccessLog is where the lines of responses go, in place of the Config's AccessLog. Its
	// File empty: to that one. Config.AccessLogs opens it.
	AccessLog record.Target
	// NoAccessLog keeps the responses out of all access logs.
	NoAccessLog bool
	// LogSample is the part of the responses of status 2xx that has a line, more than 0 and
	// at most 1; below 0: none. All others have one. Default: all.
	LogSample float64
}

// Page is the body of failures.
type Page struct {
	// Path is the absolute path of a file below the root, also of one that is hidden.
	Path string
	// Status replaces that of the failure: 200, with which the file is answered as if it had
	// been asked for, or that of another failure. 0: it stays.
	Status int
}

// Location is a part of a host.
type Location struct {
	// Match says of which normalised paths:
	//
	//	= /x    of this one
	//	^~ /x/  of those that begin with /x/; neither suffixes nor patterns are asked
	//	*.x     of those that end with .x, in any case
	//	~ RE    of those in which a regular expression (RE2) matches; ~* in any case
	//	/x/     of those that begin with /x/. /x is redirected here if there is nothing else
	//
	// Of those that match the first in this order counts, of several prefixes or
	// suffixes the longest, of several patterns the first in the list.
	Match string
	// Alias puts Root into the place of a prefix: below /dl/, /dl/f is Root/f. It is
	// Root/dl/f otherwise. Of one path (=) Root is the file.
	Alias bool
	Site

	version string // what it is a version of, as a key of a configuration; empty: of nothing
}

// Host is a site of its own, found by the Host field or the authority of the
// request target.
type Host struct {
	// Names are the names of the host, without port: example.com, an IP address
	// (IPv6 in brackets), or *.example.com for all names that end with
	// .example.com. An exact name wins over a pattern, a longer pattern over a
	// shorter one.
	Names []string
	// ID tells the host from others of its names, at other listeners: in errors, counters and
	// TLS.HostPairs. Default: the first of Names.
	ID string
	// Listen are those of the listeners, written as there, at which the host answers. Default:
	// all.
	Listen []string
	// Default makes the host answer, at its listeners, the requests that no other host is for.
	Default bool
	Site
	// Locations are the parts of the host that are answered otherwise.
	Locations []Location
}

// key is what the host is called.
func (h *Host) key() string { return cmp.Or(h.ID, h.Names[0]) }

// Listener is where requests come in.
type Listener struct {
	Addr string // as Host.Listen has it
	TLS  bool
}
