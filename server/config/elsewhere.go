package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// noProxy is said of what passes requests on.
const noProxy = "fserve passes nothing on: it serves files"

// elsewhere are the words of nginx and Caddy, and what does it here.
var elsewhere = map[string]string{
	"http": importNginx, "events": importNginx, "server": "hosts", "virtual_hosts": "hosts", "server_name": "names in an entry of hosts", "location": "locations", "handle": "locations",
	"autoindex": "listing", "browse": "listing", "file_server": "root", "try_files": "try", "error_page": "error_pages", "handle_errors": "error_pages",
	"return": "redirect or respond", "rewrite": "redirect, in a location by pattern", "redir": "redirect",
	"gzip": "compress", "brotli": "compress", "encode": "compress", "gzip_static": "precompressed", "brotli_static": "precompressed",
	"add_header": `headers: ["NAME: VALUE"]`, "header": `headers: ["NAME: VALUE"]`, "expires": "cache_control", "mime": "types", "server_tokens": "server_field",
	"limit_rate": "limits.connection, or connection of a class in limits.paths", "limit_rate_after": "after of a class in limits.paths",
	"limit_req": "admission.client.requests", "limit_conn": "admission.client.downloads",
	"auth_basic": "realm and password_file", "auth_basic_user_file": "password_file", "basic_auth": "password_file", "basicauth": "password_file",
	"valid_referers": "referers", "set_real_ip_from": "trusted_proxies", "real_ip_header": "client_header", "disable_symlinks": "symlinks",
	"ssl_certificate": "tls.cert", "ssl_certificate_key": "tls.key", "ssl_protocols": "tls.min_version", "ssl_ciphers": "tls.ciphers",
	"worker_processes": "workers", "worker_connections": "the limit of open files", "sendfile": "zero_copy, which is automatic",
	"keepalive_timeout": "timeouts.idle", "client_header_timeout": "timeouts.header",
	"log_format": "access_log.format", "error_log": "log", "include": "conf.d/*.yaml beside the file",
	"proxy_pass": noProxy, "fastcgi_pass": noProxy, "uwsgi_pass": noProxy, "reverse_proxy": noProxy, "php_fastcgi": noProxy,
}

const importNginx = "fserve import nginx FILE, which makes a configuration of one of nginx"

// ofElsewhere returns the hint for a key of another server; empty: it is none.
func ofElsewhere(key string) string {
	switch here := elsewhere[key]; here {
	case "":
		return ""
	case noProxy:
		return "; " + here
	default:
		return "; here it is " + here
	}
}

// nginxBlock is a line that begins a block of nginx.
var nginxBlock = regexp.MustCompile(`(?m)^[ \t]*(server|http|events|location\s[^:{\n]*)[ \t]*\{[ \t]*$`)

// asText returns the hint for a key of a mapping that should be a text, as in headers: {X-A: b};
// empty: it cannot be one.
func asText(t reflect.Type, key string, value *yaml.Node) string {
	for _, sep := range []string{": ", "="} {
		text := key + sep + resolve(value).Value
		if s, ok := reflect.New(t).Interface().(setter); ok && resolve(value).Kind == yaml.ScalarNode && s.Set(text) == nil {
			return fmt.Sprintf("; write [%q]", text)
		}
	}
	return ""
}

// needsMapping reports a single value in the place of a mapping. Of one with a file in it, as
// access_log: off, it is the file that was meant.
func (f *file) needsMapping(n *yaml.Node, t reflect.Type, path string) {
	hint := ""
	if _, ok := byKey(t, "file"); ok {
		hint = fmt.Sprintf("; write {file: %s}", strings.Replace(n.Value, "false", "off", 1))
	}
	f.fault(n, path, "a mapping of keys to values is needed, not %s%s", kindOf(n), hint)
}

// ofNginx reports a file that is a configuration of nginx.
func (f *file) ofNginx(content []byte) bool {
	at := nginxBlock.FindIndex(content)
	if at != nil {
		f.fault(&yaml.Node{Line: 1 + bytes.Count(content[:at[1]], []byte("\n")), Column: 1}, "", "this is a configuration of nginx: fserve import nginx %s makes one of fserve of it", f.name)
	}
	return at != nil
}
