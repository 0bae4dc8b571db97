package main_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What start would refuse, or would not do as it is written, check refuses, with its place.
func TestCheckRefuses(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(root, "a.sql"), "x")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cert, key := writePair(t, t.TempDir())
	pair := fmt.Sprintf("cert: %s, key: %s", cert, key)
	long := strings.Repeat("x", 108)
	for i, c := range []struct{ line, at, want string }{
		{"listen: [127.0.0.1:99999]", "2:10: listen[0]", "a port is a number up to 65535"},
		{"listen: ['127.0.0.1:-1']", "2:10: listen[0]", "a port is a number up to 65535"},
		{"listen: ['::1:8080']", "2:10: listen[0]", "an IPv6 address stands in brackets: [::1]:8080"},
		{"listen: ['*:80']", "2:10: listen[0]", "all addresses are :80, those of IPv4 0.0.0.0:80"},
		{"listen: [no-such-host.invalid:80]", "2:10: listen[0]", "no-such-host.invalid"},
		{"listen: [203.0.113.7:80]", "2:10: listen[0]", "cannot assign requested address"},
		{"listen: ['unix:" + dir + "/none/s']", "2:10: listen[0]", "no such file or directory"},
		{"listen: ['unix:" + root + "/a.sql']", "2:10: listen[0]", "is not a socket"},
		{"listen: ['unix:/" + long + "']", "2:10: listen[0]", "at most 107 bytes"},
		{"listen: ['" + ln.Addr().String() + "']", "2:10: listen[0]", "address already in use: by "},
		{"admin: {listen: '" + ln.Addr().String() + "'}", "2:17: admin.listen", "address already in use: by "},
		{"listen: ['127.0.0.1:1234', '127.0.0.1:1234']", "2:28: listen[1]", "is taken by listen[0]"},
		{"listen: [':1234', '[::]:1234']", "2:19: listen[1]", "is taken by listen[0]"},
		{"{listen: ['127.0.0.1:1234'], admin: {listen: '127.0.0.1:1234'}}", "2:45: admin.listen", "is taken by listen[0]"},
		{"{listen: ['0.0.0.0:1234'], tls: {listen: ['127.0.0.1:1234'], " + pair + "}}", "2:42: tls.listen[0]", "is taken by listen[0]"},
		{"{listen: ['127.0.0.1:1234'], tls: {listen: ['[::]:1234'], " + pair + "}}", "2:44: tls.listen[0]", "is taken by listen[0]"},
		{"congestion: foo", "2:13: congestion", "congestion control \"foo\""},
		{"locations: {/a/: {class: /b/}}", "2:26: locations[/a/].class", "is in no class of limits.paths"},
		{"locations: {/a.sql/: {deny: [all]}}", "2:29: locations[/a.sql/].deny", "is a file"},
		{"hosts: {h.example: {locations: {/a.sql/: {deny: [all]}}}}", "2:49: hosts[h.example].locations[/a.sql/].deny", "is a file"},
		{"locations: {/a.sql/: {password_file: " + cert + "}}", "2:38: locations[/a.sql/].password_file", "is a file"},
		{"password_file: " + cert, "2:16: password_file", "line 1: not USER:HASH"},
		{"hosts: {h.example: {locations: {/b/: {alias: " + root + ", password_file: " + dir + "/none}}}}", "2:" + strconv.Itoa(63+len(root)) + ": hosts[h.example].locations[/b/].password_file", "no such file"},
		{"hosts: {h.example: {root: " + root + "/none}}", "2:27: hosts[h.example].root", "no such file or directory"},
		{"locations: {/b/: {alias: " + root + "/none}}", "2:26: locations[/b/].alias", "no such file or directory"},
		{"files: {error_pages: {404: /none.html}}", "2:23: files.error_pages[404]", "no such file or directory"},
		{"{listen: [], tls: {listen: ['127.0.0.1:0'], cert: " + root + "/none, key: " + key + "}}", "2:50: tls.cert", "no such file or directory"},
		{"{listen: [], tls: {listen: ['127.0.0.1:0'], " + pair + ", pairs: [{" + pair + "}, {cert: " + cert + ", key: none}]}}",
			"2:" + strconv.Itoa(84+2*len(cert)+2*len(key)) + ": tls.pairs[1]", "none: no such file or directory"},
		{"{tls: {listen: ['127.0.0.1:0']}, hosts: {h.example: {tls: {cert: " + cert + ", key: " + cert + "}}}}", "2:58: hosts[h.example].tls[0]", "found a certificate rather than a key"},
		{"locations: {/b/: {redirect: '301 /b/c{uri}'}}", "2:29: locations[/b/].redirect", "a loop: /b/x leads to /b/c/b/x"},
		{"hosts: {h.example: {redirect: {to: '/x{foo}'}}}", "2:31: hosts[h.example].redirect", "unknown placeholder {foo}: there are {host}"},
		{"redirect: 'https://{host}{uri}'", "2:11: redirect", "{host} is whatever a client says"},
		{"redirect: {to: /x, status: 200}", "2:11: redirect", "status 200: one of 301"},
		{"locations: {'~ ^/(.*)': {redirect: 'https://{1}/'}}", "2:36: locations[~ ^/(.*)].redirect", "a client could choose"},
		{"respond: 304", "2:10: respond", "status 304: 200, 204 or that of a failure"},
		{"respond: {body: x, type: nothing}", "2:10: respond", "type \"nothing\""},
		{"respond: ok", "2:10: respond", "is not a status"},
		{"try: [$uri, =404, /x]", "2:13: try[1]", "a status is the last"},
		{"hosts: {h.example: {try: [$uri, $url]}}", "2:33: hosts[h.example].try[1]", "is none of $uri, $uri/"},
		{"locations: {/b/: {try: [/x, /b/y], alias: " + root + "}}", "2:25: locations[/b/].try[0]", "not below /b/"},
		{"locations: {= /b: {alias: " + root + "/none}}", "2:27: locations[= /b].alias", "no such file or directory"},
		{"locations: {= /b: {alias: " + root + "}}", "2:27: locations[= /b].alias", "not a regular file"},
		{"locations: {'*.b': {alias: " + root + "}}", "2:28: locations[*.b].alias", "an alias is for a prefix"},
		{"locations: {'~ (': {}}", "2:13: locations[~ (]", "missing closing )"},
		{"locations: {'=/b': {}}", "2:13: locations[=/b]", "a space stands behind ="},
		{"locations: {/b/: {order: 3}}", "2:26: locations[/b/].order", "only patterns"},
		{"files: {error_pages: {404: {page: /a.sql, status: 302}}}", "2:23: files.error_pages[404]", "status 302: 200 or that of a failure"},
		{"files: {error_pages: {404: {status: 200}}}", "2:28: files.error_pages[404]", "page is missing"},
		{"access_log: {file: " + dir + "/none/log}", "2:20: access_log.file", "no such file or directory"},
		{"log: {file: " + dir + "/none/log}", "2:13: log.file", "log: " + dir + "/none/log: access: no such file or directory"},
		{"log: {file: " + root + "}", "2:13: log.file", "is a directory"},
		{"pid_file: " + dir + "/none/pid", "2:11: pid_file", "no such file or directory"},
		{"admin: {listen: '127.0.0.1:0', token_file: " + dir + "/none}", "2:44: admin.token_file", "no such file or directory"},
	} {
		file := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		first, line := "root: "+root, c.line
		if strings.HasPrefix(line, "{") { // several keys on the second line
			first, line = "{root: "+root+",", line[1:]
		}
		writeFile(t, file, first+"\n"+line+"\n")
		r := fserve(t, nil, "check", "--config", file)
		if r.code != 78 || !strings.Contains(r.stderr, file+":"+c.at+": ") || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: code %d, %swant %s: %s", c.line, r.code, r.stderr, c.at, c.want)
		}
	}
}

// A certificate that is not valid for long is good, and is warned of with its place.
func TestCheckWarnsOfCertificates(t *testing.T) {
	cert, key := writePair(t, t.TempDir()) // for an hour
	file := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, file, "root: "+t.TempDir()+"\ntls: {listen: '127.0.0.1:0', cert: "+cert+", key: "+key+"}\n")
	if r := fserve(t, nil, "check", "-c", file); r.code != 0 || !strings.Contains(r.stderr, file+":2:36: tls.cert: warning: "+cert+": it expires on ") {
		t.Errorf("%+v", r)
	}
}

// What start takes, check takes: also while a server of this configuration runs.
func TestCheckAccepts(t *testing.T) {
	root := t.TempDir()
	p := serve(t, nil, "--root", root, "--admin", "127.0.0.1:0", "--listen", "unix:"+filepath.Join(t.TempDir(), "s"))
	p.wantLog("admin listener on")
	admin := strings.TrimPrefix(p.admin(), "http://")
	for _, args := range [][]string{
		{"--listen", p.addrs[0], "--listen", p.addrs[1], "--admin", admin},
		{"--listen", "0.0.0.0:0,[::]:0,:0,127.0.0.1:0"}, {"--listen", "localhost:0"}, {"--congestion=system"}, {"--listen", "unix:/run/no-such-fserve/s"}, {"--congestion=reno"},
		{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"},
	} {
		if r := fserve(t, nil, append([]string{"check", "--root", root}, args...)...); r.code != 0 {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
