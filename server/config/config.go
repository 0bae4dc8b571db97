// Package config is everything about fserve that can be configured, as one typed
// value: defaults, overridden by files, overridden by environment variables,
// overridden by flags.
//
// The fields of [Config] are the one registration table. Each has a comment that
// says effect, unit and default, from which docs/configuration.md is made, and
// tags that say how it is called and how it behaves:
//
//	key:"name"    its key in the file; sections nest. None: not settable in a file
//	flag:"name"   its flag; the variable is FSERVE_ and the flag's name in capitals
//	env:"NAME"    its variable without FSERVE_, where there is no flag: what is
//	              secret is not given on a command line, which everybody can see.
//	              Neither: settable in a file only
//	help:"text"   the help text of its flag
//	sep:","       a list whose flag and variable take commas; otherwise lines
//	live:"yes"    a change takes effect while the server runs; live:"path" for
//	              files that are opened anew: from one file to another only
//	short:"c"     a letter for its flag
//	file:"file"   it names a file or, as file:"dir", a directory: a relative one in a file
//	              begins where the configuration file is
//	secret:"yes"  its value is never shown
//	own:"text"    what the page says of it for hosts and locations, where that is
//	              more than: as files.KEY, default that around it
//
// So a field is added in one place. Load reads, Validate checks, Diff compares
// and Render writes; a [Reloader] keeps what is in force and replaces it.
package config

import (
	"log/slog"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server"
)

// Config is everything that can be configured. Default has the defaults; the
// zero value is not valid. A Config that was loaded is not changed any more and
// may be shared between goroutines.
type Config struct {
	// File is the configuration file, YAML. The files conf.d/*.yaml beside it
	// are read after it, in the order of their names. Default: none.
	File string `flag:"config" short:"c" file:"file" help:"configuration file, YAML; conf.d/*.yaml beside it are read after it"`
	// Fallback starts the server from the last good configuration of files, which
	// is kept in the state directory, if the files cannot be used. A warning
	// says so. Default: false, the server does not start then.
	Fallback bool `flag:"config-fallback" help:"start from the last good configuration if the files cannot be used"`
	// Watch reloads the files when they change, besides at SIGHUP. Default: true.
	Watch bool `flag:"config-watch" help:"reload the configuration files when they change"`
	// StateDir is the directory in which the last good configuration of files is
	// kept; it is made if it is not there. Default: $STATE_DIRECTORY, which
	// systemd sets (StateDirectory=); without that, none is kept.
	StateDir string `flag:"state-dir" file:"dir" help:"directory for the last good configuration (default $STATE_DIRECTORY)"`

	// Root is the directory that is served. Required unless there are hosts, there is
	// no default.
	Root string `key:"root" flag:"root" short:"r" file:"dir" live:"yes" help:"directory to serve (required)"`
	// Release is the name of one of releases, in place of root. Default: none.
	Release string `key:"release" flag:"release" live:"yes" help:"name of one of the releases of the file, in place of a root"`

	Answers

	// Listen are the addresses to listen on: HOST:PORT, or unix:/PATH for a Unix
	// socket. 0.0.0.0:PORT is IPv4; :PORT and [::]:PORT are IPv4 and IPv6, but beside
	// 0.0.0.0:PORT [::]:PORT is IPv6. Default: 127.0.0.1:8080, or none if there are
	// tls.listen.
	Listen []string `key:"listen" flag:"listen" short:"l" sep:"," help:"addresses to listen on, host:port or unix:/path; repeatable"`
	// UnixMode is the mode of Unix sockets, octal. Default: 0660.
	UnixMode FileMode `key:"unix_mode" flag:"unix-mode" help:"mode of Unix sockets, octal"`
	// PIDFile is a file that has the number of the process while it serves. After
	// an upgrade it is that of the new process. Default: none.
	PIDFile string `key:"pid_file" flag:"pid-file" file:"file" help:"file with the number of the process that serves (default: none)"`
	// TLS are the listeners that speak TLS 1.2 and 1.3, and their certificates; hosts may have
	// certificates of their own.
	TLS TLS `key:"tls"`

	// HSTS tells browsers to come by TLS only (Strict-Transport-Security), in all encrypted
	// answers and in no others: MAX_AGE [subdomains] [preload], or {max_age: 1y, subdomains:
	// true, preload: false}. The age has a unit: y, w, d, h, m or s. Default: off.
	HSTS HSTS `key:"hsts" flag:"hsts" live:"yes" help:"MAX_AGE[ subdomains][ preload]: what browsers are told by Strict-Transport-Security in encrypted answers, like '1y subdomains'"`

	// ProxyProtocol are those of the addresses, written as there, whose
	// connections must begin with a PROXY header (version 1 or 2). Default: none.
	ProxyProtocol []string `key:"proxy_protocol" flag:"proxy-protocol" sep:"," help:"those of the addresses, written as there, whose connections begin with a PROXY header; repeatable"`
	// TrustedProxies are the networks (CIDR) and addresses whose word on the
	// client's address is taken, and unix for peers on Unix sockets. Default: none.
	TrustedProxies []string `key:"trusted_proxies" flag:"trusted-proxies" sep:"," help:"networks whose word on the client's address is taken, and unix for Unix sockets; repeatable"`
	// ClientHeader is the field in which trusted proxies name the client: auto (forwarded or
	// x-forwarded-for; neither is believed if both are there and disagree), forwarded,
	// x-forwarded-for or x-real-ip. Default: auto.
	ClientHeader server.ClientField `key:"client_header" flag:"client-header" help:"field in which trusted proxies name the client: auto, forwarded, x-forwarded-for or x-real-ip"`

	// Workers is the number of event loops, from 1 to 1024, each with its own
	// listeners. Default: 0, one for each core.
	Workers int `key:"workers" flag:"workers" help:"event loops (default: one for each core)"`
	// Pin binds each event loop to a core. Default: false.
	Pin bool `key:"pin" flag:"pin" help:"bind each event loop to a core"`
	// Driver is how the kernel is talked to: auto, uring or fallback (epoll). With
	// auto it is io_uring where that works. Default: auto.
	Driver engine.DriverKind `key:"driver" flag:"driver" help:"how to talk to the kernel: auto, uring or fallback (epoll)"`
	// Congestion is the TCP congestion control of connections: auto, system, or the
	// name of one that the kernel has, like bbr or cubic. Auto is that of the system,
	// except that at loopback addresses (behind a proxy on the same machine) reno
	// takes the place of bbr, whose timers there cost several times what the
	// transfer does. Sockets keep it in an upgrade. Default: auto.
	Congestion string `key:"congestion" flag:"congestion" help:"TCP congestion control: auto, system, or a name like bbr"`
	// DeferAccept is how long the kernel keeps a new connection of listen to itself until
	// its first bytes have come, in whole seconds, rounded up (TCP_DEFER_ACCEPT): fserve is
	// not woken for connections that say nothing. Default: 0s, not at all.
	DeferAccept time.Duration `key:"tcp_defer_accept" flag:"tcp-defer-accept" help:"how long new connections wait in the kernel for their first bytes"`
	// FastOpen is how many connections of each listener may bring their request with
	// their first packet and wait to be acknowledged (TCP_FASTOPEN). The kernel must be
	// told to allow it for servers (net.ipv4.tcp_fastopen, 2). Requests may then come
	// twice, which does no harm to downloads. Default: 0, none.
	FastOpen int `key:"tcp_fastopen" flag:"tcp-fastopen" help:"connections whose request may come with the first packet"`
	// ZeroCopy is how the bytes of files reach the socket: auto, sendfile, splice or
	// copy. Default: auto.
	ZeroCopy engine.ZeroCopy `key:"zero_copy" flag:"zero-copy" help:"how files are sent: auto, sendfile, splice or copy"`

	// MaxConnections bounds the connections of all clients together. When there are so many
	// those end that rest the longest; if none rests a new one is answered 503. Default: 0,
	// three quarters of the limit of descriptors, or with tls.listen a quarter.
	MaxConnections int `key:"max_connections" flag:"max-connections" help:"connections of all clients together (default: by the limit of descriptors)"`
	// MaxClientConnections bounds the connections of each client: an address, of IPv6 the
	// network of 64 bits. Those of trusted proxies do not count. Default: 0, no bound.
	MaxClientConnections int `key:"max_client_connections" flag:"max-client-connections" help:"connections of each client (default: no bound)"`
	// MaxBuffers bounds the memory for requests that have not arrived whole or wait for their
	// turn; half of that again bounds the bodies of requests. What is over it ends the
	// connections that wait the longest. Default: 64MiB.
	MaxBuffers Size `key:"max_buffers" flag:"max-buffers" help:"memory for requests that have not arrived whole, like 64MiB"`

	// CompressCache bounds the memory for what is compressed by files.compress: forms that were
	// not asked for go first, and where there is no room files are sent as they are. Default: 64MiB.
	CompressCache Size `key:"compress_cache" flag:"compress-cache" live:"yes" help:"memory for what is compressed for clients, like 64MiB"`

	// Timeouts are bounds to how long clients may take: durations with their unit,
	// like 10s or 1m30s.
	Timeouts Timeouts `key:"timeouts"`
	// AccessLog is the log with a line for each response.
	AccessLog AccessLog `key:"access_log"`
	// Log is what the operator is told.
	Log Log `key:"log"`
	// Files is how files are answered. A pattern is a path (/f), what begins with it
	// (/assets/), or has one * for any bytes (*.html, /assets/*.js).
	Files Files `key:"files"`
	Access
	// Locations are parts of what is served, with a directory or rules of their own: by
	// prefix (/updates/), by a single path (= /robots.txt), by extension (*.sql) or by
	// pattern (~ ^/v[0-9]+/); see [a location](#a-location). Default: none.
	Locations map[string]Location `key:"locations" live:"yes"`
	// Hosts are sites of their own by name, as downloads.example.com; see [a
	// host](#a-host). What no host is for is answered by what is above; without a root
	// there it gets 421. Default: none.
	Hosts map[string]Host `key:"hosts" live:"yes"`
	// Releases are what is served in several versions, by their names, each with the keys of [a
	// release](#a-release): release in place of root names one. docs/releases.md tells more. Default: none.
	Releases map[string]Release `key:"releases" live:"yes"`
	// Identity is how requests prove who asks, where require wants it; docs/identity.md tells
	// more.
	Identity Identity `key:"identity"`
	// Admission bounds what clients may ask for: how often, and how much at a time;
	// docs/admission.md tells more.
	Admission Admission `key:"admission"`
	// Limits are what shapes the traffic: a rate for everything, for each class of paths,
	// for each client and for each connection. All of them hold at once. Rates
	// carry a unit: 10MiB/s or 500KB/s (bytes), 80Mbit/s (bits); a bare number is
	// refused, since it means bytes to some and bits to others.
	Limits Limits `key:"limits"`
	// Adapt is how the rate of each client is found by what the kernel measures of its
	// connections, between a floor and a ceiling. It is off unless both are given. A class
	// of paths is adapted as a whole by adapt_min and adapt_max of its limit.
	Adapt Adapt `key:"adapt"`
	// Profiles are limits that hold for a time, besides the others: each while an alert
	// fires that is posted to /alerts of the admin listener and carries all labels of its
	// match. Of several rates for one level the lowest counts. Default: none.
	Profiles map[string]Profile `key:"profiles" flag:"profile" form:"NAME=LEVEL=RATE,...,match.LABEL=VALUE,..." live:"yes" help:"NAME=LEVEL=RATE,...,match.LABEL=VALUE,...: limits while an alert with these labels fires; repeatable"`
	// Alerts is where alerts of fserve itself go.
	Alerts Alerts `key:"alerts"`
	// Admin is the listener for operators.
	Admin Admin `key:"admin"`
}

// Timeouts are bounds to how long clients may take.
type Timeouts struct {
	// Header is how long a request may take to arrive whole. Default: 10s.
	Header time.Duration `key:"header" flag:"header-timeout" help:"how long a request may take to arrive"`
	// Idle is how long a connection may rest between requests. Default: 1m.
	Idle time.Duration `key:"idle" flag:"idle-timeout" help:"how long a connection may rest between requests"`
	// Body is how long the body of a request may take to arrive, and a second more for each
	// 8 KiB of it. Default: 30s.
	Body time.Duration `key:"body" flag:"body-timeout" help:"how long the body of a request may take to arrive, beyond a second for each 8 KiB"`
	// Open is how long a request waits for its files to be opened, or its listing to be made,
	// while a file system does not answer or another process keeps a file from being opened; then
	// it gets 503. Default: 30s.
	Open time.Duration `key:"open" flag:"open-timeout" help:"how long a request waits for a file system that does not answer, before it gets 503"`
	// Send is how long a client may take nothing of its response before it is
	// cut. Default: 30s.
	Send time.Duration `key:"send" flag:"send-timeout" help:"how long a client may take nothing of its response"`
	// Drain is how long running responses may go on after SIGTERM; 0s cuts them
	// at once. Default: 30s.
	Drain time.Duration `key:"drain" flag:"drain-timeout" live:"yes" help:"how long running responses may go on after SIGTERM"`
	// Upgrade is how long running responses may go on in a process that was replaced
	// by SIGUSR2; 0s cuts them at once. Default: 1h.
	Upgrade time.Duration `key:"upgrade" flag:"upgrade-timeout" live:"yes" help:"how long running responses may go on in a process that was replaced by SIGUSR2"`
}

// AccessLog is the log with a line for each response.
type AccessLog struct {
	// File is the file that lines are added to, - for standard output, off, or a syslog
	// server: syslog:server=HOST:PORT,facility=local7,tag=fserve,severity=info, or with
	// server=unix:/dev/log. A file is opened anew on SIGUSR1. Default: off.
	File string `key:"file" flag:"access-log" file:"file" live:"yes" own:"as access_log, default that around it" help:"access log: a file, - for standard output, off, or syslog:server=HOST:PORT; a file is opened anew on SIGUSR1"`
	// Format is that of the lines: combined, json, or a text with variables, as
	// '$host $remote_addr [$time_local] \"$request\" $status $body_bytes_sent'; see
	// [variables](operations.md#the-access-log). Default: combined.
	Format LogFormat `key:"format" flag:"access-log-format" live:"yes" own:"as access_log, default that around it" help:"format of the access log: combined, json, or a text with variables like $remote_addr"`
	// Escape is what becomes of bytes in variables that could break a line: default (\xHH),
	// json or none. Default: default.
	Escape server.LogEscape `key:"escape" flag:"access-log-escape" live:"yes" own:"as access_log, default that around it" help:"escaping in a text with variables: default, json or none"`
	// Sample is the part of the responses of status 2xx that has a line, like 1%; all others
	// have one. Default: 100%.
	Sample Percent `key:"sample" flag:"access-log-sample" live:"yes" own:"as access_log, default that around it" help:"part of the responses of status 2xx that has a line in the access log, like 1%"`
}

// Log is what the operator is told.
type Log struct {
	// File is the file that lines are added to; it is opened anew on SIGUSR1. The start line and
	// the reason of an end are on standard error, too. Default: none, standard error.
	File string `key:"file" flag:"log-file" file:"file" live:"yes" help:"file of the log for operators, opened anew on SIGUSR1 (default: standard error)"`
	// Level is the least important that is said: debug, info, warn or error.
	// Default: info.
	Level slog.Level `key:"level" flag:"log-level" live:"yes" help:"least important messages that are logged: debug, info, warn or error"`
}

// Files is how files are answered: by the server, and by a host or a location, which has
// its own. What one of these leaves out is nil, and is as it is around it; the Files of a
// Config that Default or Load has returned leave out lists and tables only.
type Files struct {
	// Precompressed sends f.br, f.zst or f.gz, if it is beside f and not older, to clients
	// that accept the coding. Default: false, such a file is one of its own.
	Precompressed *bool `key:"precompressed" flag:"precompressed" live:"yes" help:"send f.br, f.zst or f.gz beside f to clients that accept it"`
	// Compress has files and listings compressed, by Zstandard and gzip, for the clients that
	// accept it: off, on, or a mapping {types: [text/*, "*+json"], min_size: 1KiB, max_size:
	// 1MiB, level: 5} of media types with at most one *, sizes (at most 64MiB) and a level from
	// 1 to 9, each of which may be left out. Types of what is compressed already are refused.
	// Default: off; of types text, JSON, XML, JavaScript, WebAssembly, fonts and bitmaps.
	Compress *Compress `key:"compress" flag:"compress" live:"yes" help:"compress files and listings for clients that accept it: on, off, or like 'types=text/* *+json,min_size=1KiB,max_size=1MiB,level=5'"`
	// Listing lists directories without an index, as HTML or JSON; otherwise they
	// are 403. Default: false.
	Listing *bool `key:"listing" flag:"listing" live:"yes" help:"list directories without an index, as HTML or JSON"`
	// ListingPage is how many entries a page of a listing has that is asked for by its
	// number (?page=2); without one all are listed. Default: 1000.
	ListingPage *int `key:"listing_page" flag:"listing-page" live:"yes" help:"entries of a page of a listing that is asked for by its number, ?page=2"`
	// Index are the names of the file that answers for its directory, tried in
	// order. Default: index.html.
	Index []string `key:"index" flag:"index" live:"yes" help:"name of an index file (default index.html); repeatable"`
	// Symlinks are the symbolic links that are followed: inside (those that stay
	// below the root), follow (all) or deny (none). Default: inside.
	Symlinks *openfile.Symlinks `key:"symlinks" flag:"symlinks" live:"yes" help:"symbolic links that are followed: inside (the root), follow (all) or deny (none)"`
	// Consistency is what keeps a response from joining two versions of a file that is
	// written to in place: lease (a read lease; what gets none is copied), copy (from
	// private memory), check (look before the last bytes leave) or auto (lease where it
	// can be had, else check). docs/consistency.md says what each promises.
	// Default: auto.
	Consistency *openfile.Consistency `key:"consistency" flag:"consistency" live:"yes" help:"what keeps a response from joining two versions of a file that is written to in place: auto, lease, copy or check"`
	// BeingWritten is what happens to a request for a file that somebody is writing: wait
	// (for up to 2s, or as wait 5s says; then it is served), serve (at once) or refuse
	// (503). Default: wait 2s.
	BeingWritten *BeingWritten `key:"being_written" flag:"being-written" live:"yes" help:"what happens to a request for a file that is being written: wait (2s, or as wait 5s says; then it is served), serve or refuse (503)"`
	// Growing are the patterns of files that are only ever appended to, as logs and
	// recordings: a response has the length that the file had when it began. Default:
	// none.
	Growing []string `key:"growing" flag:"growing" live:"yes" help:"PATTERN: files that match are only ever appended to, like '*.log' or '/hls/'; repeatable"`
	// EncodedSlash says what %2F in a path is: decode (a slash, as npm means it) or refuse
	// (400), for origins behind proxies that decide by a path in which it is none.
	// Default: decode.
	EncodedSlash *EncodedSlash `key:"encoded_slash" flag:"encoded-slash" live:"yes" help:"what %2F in a path is: decode (a slash) or refuse (400)"`
	// Dotfiles serves names that begin with a dot; those below /.well-known/ are
	// served in any case. Default: false.
	Dotfiles *bool `key:"dotfiles" flag:"dotfiles" live:"yes" help:"serve names that begin with a dot"`
	// ErrorPages are files below the root that are the bodies of failures, by
	// status: 404: /404.html. With another status, 404: {page: /index.html, status: 200}, it
	// is answered with that; with 200 it is as if the file had been asked for. Default: none,
	// a short text, or a page for those who prefer HTML.
	ErrorPages map[int]ErrorPage `key:"error_pages" flag:"error-page" form:"STATUS=/PATH" live:"yes" help:"STATUS=/PATH: file below the root that is the body of failures; repeatable" own:"As files.error_pages, of files below this root. Default: those around it, all of them."`
	// CacheControl are the values of Cache-Control for files by pattern, or one for all; the first
	// rule that matches counts. Default: none, the field is not sent.
	CacheControl []Rule `key:"cache_control" flag:"cache-control" live:"yes" help:"[PATTERN=]VALUE: Cache-Control of files that match, like '/assets/=max-age=3600' or '*.html=no-cache', or of all; repeatable" own:"As files.cache_control; patterns are of whole paths, the prefix included. Default: that around it."`
	// Attachment are the patterns of files that are for saving, not for showing
	// (Content-Disposition). Default: none.
	Attachment []string `key:"attachment" flag:"attachment" live:"yes" help:"PATTERN: files that match are for saving, not for showing; repeatable"`
	// DownloadParam is the name of a query parameter that makes any file an
	// attachment: /f?NAME. Default: none.
	DownloadParam *string `key:"download_param" flag:"download-param" live:"yes" help:"name of a query parameter that makes a file an attachment"`
	// Types are the media types of extensions, and with a slash before it of names without
	// one, added to the built-in table: iso: application/x-iso9660-image, /VERSION:
	// text/plain. Default: none.
	Types map[string]string `key:"types" flag:"mime" form:"EXT=TYPE" live:"yes" help:"EXT=TYPE: media type of an extension; repeatable" own:"As files.types. Default: those around it."`
	// DefaultType is the media type of what no table knows. Default: none, which stands for
	// application/octet-stream.
	DefaultType *string `key:"default_type" flag:"default-type" live:"yes" help:"media type of files that the tables do not know (default application/octet-stream)"`
	// Headers are fields added to responses by pattern, or to all; of rules with one name
	// the first that matches counts. Default: none.
	Headers []HeaderRule `key:"headers" flag:"header" live:"yes" help:"[PATTERN=]NAME: VALUE: field added to responses for paths that match, or for all; repeatable" own:"As files.headers. Default: those around it."`
	// ETag says what tags are made of: version (time of modification and size) or content (the
	// SHA-256 in the extended attributes user.shatag.sha256 and user.shatag.ts, or in f.sha256
	// beside f; without it there is no tag), for origins that must agree. Default: version.
	ETag *ETag `key:"etag" flag:"etag" live:"yes" help:"what tags are made of: version (time and size) or content (a SHA-256 from an extended attribute or f.sha256)"`
	// MaxRanges is how many ranges an answer has at most, from 1 to 256. For more of them, or
	// if they sum to more than the file, it is the whole file. Default: 64.
	MaxRanges *int `key:"max_ranges" flag:"max-ranges" live:"yes" help:"ranges that an answer has at most"`
	// ServerField is the value of the Server field. Default: none, it is not sent.
	ServerField *string `key:"server_field" flag:"server-field" live:"yes" help:"value of the Server field (default: it is not sent)"`
}

// Limits shape the traffic.
type Limits struct {
	// Global is the rate of everything together. Default: unlimited.
	Global Limit `key:"global" flag:"limit-global" live:"yes" help:"rate of everything together, like 100MiB/s or 800Mbit/s (default unlimited)"`
	// Client is the rate of each client over all its connections. Default:
	// unlimited.
	Client Limit `key:"client" flag:"limit-client" live:"yes" help:"rate of each client over all its connections (default unlimited)"`
	// Connection is the rate of each connection. Default: unlimited.
	Connection Limit `key:"connection" flag:"limit-connection" live:"yes" help:"rate of each connection (default unlimited)"`
	// Burst is how many bytes may pass at once above the rates of global, client
	// and connection, after less has passed for a while: 1MiB. It counts for those
	// of them that have no burst of their own. Default: 0B, which stands for one
	// send and 20 ms of the rate.
	Burst Size `key:"burst" flag:"limit-burst" live:"yes" help:"bytes that may pass at once above the limits, like 1MiB (default: one send and 20 ms of the rate)"`
	// Paths are classes of paths by prefix, each with its own limit; the longest
	// prefix counts. What no class matches has global, client and connection
	// only. Default: none.
	Paths map[string]Limit `key:"paths" flag:"limit-path" form:"PREFIX=RATE[,client=RATE][,connection=RATE][,after=SIZE][,weight=N][,burst=SIZE][,guarantee=RATE][,priority=N]" live:"yes" help:"PREFIX=RATE[,client=RATE][,connection=RATE][,after=SIZE][,weight=N][,burst=SIZE][,guarantee=RATE][,priority=N]: limit of the paths that begin with the prefix; repeatable"`
}

// Adapt finds the rates of clients.
type Adapt struct {
	// Min is the floor: nothing that is measured lowers a client's rate below it.
	// Default: unlimited, which stands for none.
	Min rate.Rate `key:"min" flag:"adapt-min" live:"yes" help:"floor of the rates that are found for clients, like 1MiB/s (default: off)"`
	// Max is the ceiling of a client's rate. Default: unlimited, which stands for none.
	Max rate.Rate `key:"max" flag:"adapt-max" live:"yes" help:"ceiling of the rates that are found for clients, like 50MiB/s (default: off)"`
	// Start is the rate that a client begins with. Default: unlimited, which stands for
	// the floor.
	Start rate.Rate `key:"start" flag:"adapt-start" live:"yes" help:"rate that clients begin with (default: the floor)"`
	// Tune are thresholds of the control loops and the breaker, by name; docs/adapt.md
	// lists them: raise: 0.05. What is learned later than the change goes by them.
	// Default: none, those of the table there.
	Tune map[string]string `key:"tune" flag:"adapt-tune" form:"NAME=VALUE" live:"yes" help:"NAME=VALUE: threshold of the control loops or the breaker, see docs/adapt.md; repeatable"`
}

// Alerts is where alerts of fserve itself go.
type Alerts struct {
	// Webhook is the URL that alerts are posted to as JSON, in the form of Alertmanager's
	// webhooks: http://HOST/PATH or https://HOST/PATH. Default: none, they are logged only.
	Webhook string `key:"webhook" flag:"alert-webhook" help:"URL that alerts are posted to, in the form of Alertmanager's webhooks (default: none)"`
	// TokenFile is a file with the bearer token for that; white space around it does
	// not count. Default: none.
	TokenFile string `key:"token_file" flag:"alert-token-file" file:"file" help:"file with the bearer token for the alert webhook"`
}

// Admin is the listener for operators: metrics, health, limits, reload.
type Admin struct {
	// Listen is the address of the admin listener, HOST:PORT or unix:/PATH. On
	// anything but loopback and Unix sockets a token is needed. Default: none, it
	// is off.
	Listen string `key:"listen" flag:"admin" help:"address of the admin listener, host:port or unix:/path (default: off)"`
	// Token is the bearer token that admin requests must carry. Better is a file:
	// see token_file. Default: none.
	Token string `key:"token" env:"ADMIN_TOKEN" secret:"yes"`
	// TokenFile is a file with the bearer token; white space around it does not
	// count. It is read again at each reload. Default: none.
	TokenFile string `key:"token_file" flag:"admin-token-file" file:"file" live:"path" help:"file with the bearer token that admin requests must carry"`
	// PProf offers /debug/pprof on the admin listener. Default: false.
	PProf bool `key:"pprof" flag:"admin-pprof" help:"offer /debug/pprof on the admin listener"`
}

// Default returns a Config with the defaults of all fields.
func Default() *Config {
	return &Config{
		Watch:      true,
		Listen:     []string{"127.0.0.1:8080"},
		UnixMode:   0o660,
		Congestion: CongestionAuto,
		MaxBuffers: 64 << 20,
		Identity:   Identity{Links: Links{Param: "fs"}},
		Admission:  Admission{Breaker: Breaker{Descriptors: 1, Memory: 1}, Queue: Queue{Length: 16, Wait: 15 * time.Second}},
		Timeouts:   Timeouts{Header: 10 * time.Second, Idle: time.Minute, Body: 30 * time.Second, Open: 30 * time.Second, Send: 30 * time.Second, Drain: 30 * time.Second, Upgrade: time.Hour},
		AccessLog:  AccessLog{File: LogOff, Format: "combined", Sample: 1},
		Files:      complete(Files{ListingPage: new(1000), MaxRanges: new(64), BeingWritten: new(BeingWritten(defaultWriteWait))}),
		Access:     complete(Access{}),

		CompressCache: 64 << 20,
	}
}

// CongestionAuto is the Congestion that looks at system and address.
const CongestionAuto = "auto"

// Values of AccessLog.File that are no files.
const (
	LogOff    = "off"
	LogStdout = "-"
)
