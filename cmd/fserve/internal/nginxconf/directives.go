package nginxconf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/server"
)

// handlers are the directives that fserve has something like.
var handlers = map[string]func(t *translator, s *scope, d *directive){
	"listen": doListen, "server_name": doServerName,
	"root": doRoot, "alias": doAlias, "index": doIndex, "try_files": doTryFiles,
	"autoindex": flag("listing"), "gzip_static": flag("precompressed"), "brotli_static": flag("precompressed"), "zstd_static": flag("precompressed"),
	"gzip": flag("gzip"), "gzip_types": doGzipTypes, "gzip_min_length": doGzipSize, "gzip_comp_level": doGzipLevel,
	"disable_symlinks": doSymlinks, "error_page": doErrorPage, "max_ranges": doMaxRanges,
	"types": doTypes, "default_type": doDefaultType, "charset": doCharset,
	"add_header": doAddHeader, "expires": doExpires, "server_tokens": func(*translator, *scope, *directive) {},
	"return": doReturn, "rewrite": doRewrite, "if": doIf,
	"allow": doAccess, "deny": doAccess,
	"limit_rate": doLimitRate, "limit_rate_after": doLimitRate,
	"ssl_certificate": doCertificate, "ssl_certificate_key": doCertificate, "ssl_reject_handshake": doReject,
	"http2": doHTTP2, "ssl_protocols": doProtocols, "ssl_ciphers": doCiphers,
	"set_real_ip_from": doRealIP, "real_ip_header": doRealIP,
	"keepalive_timeout": timeout("timeouts.idle"), "client_header_timeout": timeout("timeouts.header"),
	"client_body_timeout": timeout("timeouts.body"), "send_timeout": timeout("timeouts.send"), "worker_shutdown_timeout": timeout("timeouts.drain"),
	"error_log": doErrorLog, "limit_req_zone": doZone, "limit_conn_zone": doZone, "limit_req": doBound, "limit_conn": doBound,
	"access_log": doAccessLog, "log_format": doLogFormat,
	"worker_processes": doWorkers, "worker_cpu_affinity": func(t *translator, s *scope, d *directive) { t.set(s, d, "pin", true) },
	"pid":        func(t *translator, s *scope, d *directive) { t.set(s, d, "pid_file", d.arg(0)) },
	"proxy_pass": doPass, "fastcgi_pass": doPass, "uwsgi_pass": doPass, "scgi_pass": doPass, "grpc_pass": doPass, "memcached_pass": doPass, "internal": doPass,
	"auth_basic": doPassword, "auth_basic_user_file": doPassword, "satisfy": doSatisfy, "valid_referers": doReferers,
	"auth_request": doGuard, "auth_jwt": doGuard, "secure_link": doSecureLink, "secure_link_md5": doSecureLink, "ssl_verify_client": doGuard,
	"limit_except": doLimitExcept,
}

// doHTTP2 offers it at all listeners that speak TLS: it is one value here.
func doHTTP2(t *translator, s *scope, d *directive) {
	if d.arg(0) != "off" {
		t.set(s, d, "tls.http2", true)
	}
}

// flag is a directive that is on or off.
func flag(key string) func(t *translator, s *scope, d *directive) {
	return func(_ *translator, s *scope, d *directive) {
		s.began[key] = true
		s.settings[key] = d.arg(0) != "off"
	}
}

// timeout is a directive with a time that holds for the whole server here.
func timeout(path string) func(t *translator, s *scope, d *directive) {
	return func(t *translator, s *scope, d *directive) {
		if at, ok := duration(d.arg(0)); !ok || at < time.Second {
			t.leave(s, d, path+" is a time of at least a second")
		} else {
			t.set(s, d, path, fmt.Sprintf("%ds", int64(at/time.Second)))
		}
	}
}

var timeParts = regexp.MustCompile(`(\d+)\s*(ms|[smhdwMy]?)`)

// duration reads a time of nginx, like 1h 30m or 90.
func duration(s string) (d time.Duration, ok bool) {
	units := map[string]time.Duration{"ms": time.Millisecond, "": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour}
	for _, m := range timeParts.FindAllStringSubmatch(s, -1) {
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil {
			return 0, false
		}
		d += time.Duration(n) * units[m[2]]
	}
	return d, s != "" && strings.TrimSpace(timeParts.ReplaceAllString(s, "")) == ""
}

func doListen(t *translator, s *scope, d *directive) {
	if s.server == nil || d.block != nil {
		t.leave(s, d, "it stands in a server")
		return
	}
	l := listen{address: d.arg(0)}
	if _, err := strconv.Atoi(l.address); err == nil {
		l.address = "0.0.0.0:" + l.address
	} else if !strings.HasPrefix(l.address, "unix:") {
		l.address = strings.Replace(l.address, "*:", "0.0.0.0:", 1)
		if host := strings.Trim(l.address, "[]"); !strings.Contains(strings.TrimPrefix(l.address, "["+host+"]"), ":") {
			l.address += ":80"
		}
	}
	for _, p := range d.args[1:] {
		switch name, _, _ := strings.Cut(p, "="); name {
		case "ssl":
			l.tls = true
		case "default_server", "default":
			l.first = true
		case "proxy_protocol":
			t.add("proxy_protocol", l.address)
		case "http2":
			t.set(s, d, "tls.http2", true)
		case "quic", "http3", "spdy":
			t.remark(d, "clients get HTTP/1.1 or HTTP/2")
		}
	}
	s.server.listens = append(s.server.listens, l)
}

// add adds to a list of the whole server what is not there already.
func (t *translator) add(path, value string) {
	list, _ := t.top[path].([]string)
	for _, have := range list {
		if have == value {
			return
		}
	}
	t.top[path] = append(list, value)
}

func doServerName(t *translator, s *scope, d *directive) {
	if s.server == nil {
		t.leave(s, d, "it stands in a server")
		return
	}
	for _, n := range d.args {
		switch {
		case n == "_" || n == "" || n == "localhost" && len(d.args) == 1:
		case strings.HasPrefix(n, "~"):
			t.leave(s, d, n+": names of hosts have no regular expressions")
		case strings.HasPrefix(n, "."):
			s.server.names = append(s.server.names, n[1:], "*"+n)
		case strings.HasSuffix(n, ".*") || strings.Contains(n, "$"):
			t.leave(s, d, n+": a name is whole, or begins with *.")
		default:
			s.server.names = append(s.server.names, strings.ToLower(n))
		}
	}
}

func doRoot(t *translator, s *scope, d *directive) {
	if strings.Contains(d.arg(0), "$") {
		t.leave(s, d, "a root has no variables: write a host for each name")
		return
	}
	s.began["root"] = true
	s.settings["root"] = d.arg(0)
}

func doAlias(t *translator, s *scope, d *directive) {
	if strings.Contains(d.arg(0), "$") || strings.HasPrefix(s.match, "~") {
		t.leave(s, d, "an alias is one directory, or the file of a location =")
		return
	}
	s.answers["alias"] = d.arg(0)
}

func doIndex(t *translator, s *scope, d *directive) {
	s.fresh("index")
	list, _ := s.settings["index"].([]string)
	for _, name := range d.args {
		if strings.ContainsAny(name, "/$") {
			t.leave(s, d, name+": an index is the name of a file in the directory")
		} else if !strings.HasSuffix(name, ".php") {
			list = append(list, name)
		}
	}
	s.settings["index"] = list
}

var uris = regexp.MustCompile(`^(\$uri[^$]*|/[^$]*|=[1-5]\d\d)$`)

func doTryFiles(t *translator, s *scope, d *directive) {
	var list []string
	for i, a := range d.args {
		path, _, _ := strings.Cut(strings.Replace(a, "$document_root", "", 1), "?")
		if !uris.MatchString(path) {
			t.leave(s, d, a+": what is tried is $uri with something after it, a path, or =STATUS last")
			if path = "=404"; i < len(d.args)-1 {
				continue
			}
		}
		list = append(list, path)
	}
	switch strings.Join(list, " ") {
	case "$uri $uri/ =404", "$uri/ $uri =404": // that is what is done in any case
	default:
		s.answers["try"] = list
	}
}

func doSymlinks(_ *translator, s *scope, d *directive) {
	s.began["symlinks"] = true
	switch d.arg(0) {
	case "on":
		s.settings["symlinks"] = "deny"
	case "if_not_owner":
		s.settings["symlinks"] = "inside"
	}
}

func doMaxRanges(t *translator, s *scope, d *directive) {
	n, err := strconv.Atoi(d.arg(0))
	if err != nil || n < 1 || n > 256 {
		t.leave(s, d, "an answer has 1 to 256 ranges")
		return
	}
	s.began["max_ranges"] = true
	s.settings["max_ranges"] = n
}

func doErrorPage(t *translator, s *scope, d *directive) {
	s.fresh("error_pages")
	pages, _ := s.settings["error_pages"].(map[string]any)
	if pages == nil {
		pages = make(map[string]any)
		s.settings["error_pages"] = pages
	}
	if len(d.args) < 2 {
		return
	}
	page, status := d.args[len(d.args)-1], ""
	codes := d.args[:len(d.args)-1]
	if last := codes[len(codes)-1]; strings.HasPrefix(last, "=") {
		codes, status = codes[:len(codes)-1], strings.TrimPrefix(last, "=")
		if status == "" {
			status = "200"
		}
	}
	if !strings.HasPrefix(page, "/") || strings.Contains(page, "$") {
		t.leave(s, d, "an error page is a path below the root")
		return
	}
	for _, code := range codes {
		if n, _ := strconv.Atoi(code); n < 400 || n > 599 {
			t.leave(s, d, code+" is not the status of a failure")
			continue
		}
		pages[code] = page
		if n, _ := strconv.Atoi(status); n != 0 {
			pages[code] = ordered{{"page", page}, {"status", n}}
		}
	}
}

func doTypes(_ *translator, s *scope, d *directive) {
	s.fresh("types")
	types, _ := s.settings["types"].(map[string]any)
	if types == nil {
		types = make(map[string]any)
		s.settings["types"] = types
	}
	for _, line := range d.block {
		for _, ext := range line.args {
			types[ext] = line.name
		}
	}
	if len(types) > 60 { // a copy of mime.types
		delete(s.settings, "types")
	}
}

func doDefaultType(t *translator, s *scope, d *directive) {
	if typ := d.arg(0); typ != "application/octet-stream" && typ != "text/html" { // as it is in any case, and for answers
		s.began["default_type"] = true
		s.settings["default_type"] = typ
	} else if typ == "text/html" && s.server != nil {
		s.answers["type"] = typ
	}
}

func doCharset(t *translator, s *scope, d *directive) {
	if c := strings.ToLower(d.arg(0)); c != "utf-8" && c != "off" {
		t.leave(s, d, "text is UTF-8")
	}
}

func doAddHeader(t *translator, s *scope, d *directive) {
	for _, key := range []string{"headers", "attachment", "control", "hsts"} { // nginx has them in one list
		s.fresh(key)
	}
	name, value := d.arg(0), d.arg(1)
	switch {
	case strings.Contains(value, "$"):
		t.leave(s, d, "fields have no variables")
	case value == "":
	case strings.EqualFold(name, "Cache-Control"):
		s.settings["control"] = value
	case strings.EqualFold(name, "Content-Disposition"):
		s.settings["attachment"] = []string{"/"}
	case strings.EqualFold(name, "X-Content-Type-Options"): // it is sent in any case
	case strings.EqualFold(name, "Strict-Transport-Security") && hsts(value) != "":
		s.settings["hsts"] = value
	default:
		if err := (server.HeaderRule{Match: "/", Name: name, Value: value}).Validate(); err != nil {
			t.leave(s, d, err.Error())
			return
		}
		list, _ := s.settings["headers"].([]ordered)
		s.settings["headers"] = append(list, ordered{{"match", "/"}, {"name", name}, {"value", value}})
	}
}

func doExpires(t *translator, s *scope, d *directive) {
	s.fresh("expires")
	at := d.arg(len(d.args) - 1)
	switch after, ok := duration(at); {
	case at == "off":
	case at == "max":
		s.settings["expires"] = "max-age=315360000"
	case at == "epoch" || strings.HasPrefix(at, "-"):
		s.settings["expires"] = "no-cache"
	case ok && d.arg(0) != "modified":
		s.settings["expires"] = fmt.Sprintf("max-age=%d", int64(after/time.Second))
	default:
		t.leave(s, d, "a time after the answer, as cache_control")
	}
}

func doLimitRate(t *translator, s *scope, d *directive) {
	if strings.Contains(d.arg(0), "$") {
		t.leave(s, d, "limits have no variables")
		return
	}
	rate, ok := size(d.arg(0))
	if !ok {
		t.leave(s, d, "not a number of bytes")
		return
	}
	s.began[d.name] = true
	s.settings[d.name] = rate
}

// size reads a number of bytes of nginx with its unit of fserve; 0: none.
func size(text string) (string, bool) {
	number := strings.TrimRight(text, "kKmMgG")
	n, err := strconv.ParseUint(number, 10, 50)
	unit := map[string]string{"": "B", "k": "KiB", "m": "MiB", "g": "GiB"}[strings.ToLower(text[len(number):])]
	if n == 0 && err == nil {
		return "", true
	}
	return fmt.Sprint(n) + unit, err == nil && unit != ""
}

func doCertificate(t *translator, s *scope, d *directive) {
	if s.server == nil {
		t.leave(s, d, "a certificate stands in a server")
		return
	}
	if strings.ContainsAny(d.arg(0), "$:") {
		t.leave(s, d, "a certificate is a file")
		return
	}
	pairs := &s.server.pairs
	if d.name == "ssl_certificate" {
		*pairs = append(*pairs, pair{cert: d.arg(0)})
		return
	}
	for i := range *pairs {
		if (*pairs)[i].key == "" {
			(*pairs)[i].key = d.arg(0)
			return
		}
	}
	t.leave(s, d, "write it after its ssl_certificate")
}

func doReject(_ *translator, s *scope, d *directive) {
	if s.server != nil {
		s.server.refuse = d.arg(0) == "on"
	}
}

func doProtocols(t *translator, s *scope, d *directive) {
	if len(d.args) == 1 && d.arg(0) == "TLSv1.3" {
		t.set(s, d, "tls.min_version", "1.3")
	}
}

// secureCiphers are the suites of TLS 1.2 that are spoken, as OpenSSL has them.
var secureCiphers = regexp.MustCompile(`^ECDHE-(ECDSA|RSA)-(AES(128-GCM-SHA256|256-GCM-SHA384)|CHACHA20-POLY1305)$`)

func doCiphers(t *translator, _ *scope, d *directive) {
	for name := range strings.SplitSeq(d.arg(0), ":") {
		if secureCiphers.MatchString(name) {
			t.add("tls.ciphers", name)
		}
	}
}

func doRealIP(t *translator, s *scope, d *directive) {
	field := strings.ToLower(d.arg(0))
	t.clientHeader = t.clientHeader || d.name == "real_ip_header"
	switch {
	case d.name == "set_real_ip_from":
		t.add("trusted_proxies", strings.TrimSuffix(d.arg(0), ":"))
	case field == "proxy_protocol":
		t.remark(d, "the addresses in proxy_protocol are those whose connections begin with it")
	case field == "x-forwarded-for" || field == "forwarded" || field == "x-real-ip":
		t.set(s, d, "client_header", field)
	default:
		t.leave(s, d, "proxies name clients by X-Forwarded-For, Forwarded or X-Real-IP")
	}
}

func doWorkers(t *translator, s *scope, d *directive) {
	if n, err := strconv.Atoi(d.arg(0)); err == nil {
		t.set(s, d, "workers", n)
	}
}
