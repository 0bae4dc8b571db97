package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrNoNginx says how to get nginx.
var ErrNoNginx = errors.New("nginx is not installed; install it with: apt-get install nginx-light")

// NginxInfo is what an nginx binary says about itself.
type NginxInfo struct {
	Binary  string
	Version string
	Threads bool // built with "aio threads"
}

// FindNginx returns the nginx on this machine, or ErrNoNginx.
func FindNginx() (NginxInfo, error) {
	// Debian's place is not in the search path of ordinary users.
	return findNginx("nginx", "/usr/sbin/nginx")
}

func findNginx(names ...string) (NginxInfo, error) {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "-V").CombinedOutput()
		if err != nil {
			return NginxInfo{}, fmt.Errorf("%s -V: %w", path, err)
		}
		info := parseNginx(string(out))
		info.Binary = path
		return info, nil
	}
	return NginxInfo{}, ErrNoNginx
}

var nginxVersion = regexp.MustCompile(`nginx version: nginx/(\S+)`)

func parseNginx(out string) NginxInfo {
	info := NginxInfo{Version: "unknown", Threads: strings.Contains(out, "--with-threads")}
	if m := nginxVersion.FindStringSubmatch(out); m != nil {
		info.Version = m[1]
	}
	return info
}

// nginxConfig holds one worker with two servers over the same files: the
// second moves blocking reads to a thread pool.
const nginxConfig = `daemon off;
%[1]sworker_processes 1;
worker_rlimit_nofile %[2]d;
pid %[3]s/pid;
error_log stderr warn;
events {
	worker_connections %[2]d;
}
http {
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	default_type application/octet-stream;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	open_file_cache %[8]s;
	access_log off;
	keepalive_requests 1000000000;
	server {
		listen %[4]s;
		root %[6]s;
		limit_rate %[7]d;
%[9]s	}
%[5]s}
`

const nginxThreads = `	server {
		listen %s;
		root %s;
		aio threads;
	}
`

// nginxTLS is what that has to say of TLS.
const nginxTLS = `		ssl_protocols TLSv1.3;
		ssl_certificate %s;
		ssl_certificate_key %s;
`

// NginxOpenFiles is how many files NginxOpen keeps open.
const NginxOpenFiles = 50_000

// nginxCommand writes the configuration and returns how to start nginx with
// it. addr is that of the server block that spec asks for.
func nginxCommand(spec Spec, site Site, dir, addr string) (*exec.Cmd, error) {
	plain, threads := addr, ""
	if spec.Kind == NginxAIO {
		other, err := freeAddr(site.Host)
		if err != nil {
			return nil, err
		}
		plain, threads = other, fmt.Sprintf(nginxThreads, addr, site.Root)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // the files lie below a directory of root
	}
	cache, files := "off", site.NginxFiles
	if spec.Kind == NginxOpen {
		files = NginxOpenFiles
	}
	if files > 0 {
		cache = fmt.Sprintf("max=%d inactive=60s", files)
	}
	secure := ""
	if site.TLS {
		p, err := newPair(dir)
		if err != nil {
			return nil, err
		}
		plain += " ssl"
		secure = fmt.Sprintf(nginxTLS, p.cert, p.key)
	}
	const spare = 64 // descriptors beside those of connections and files
	text := fmt.Sprintf(nginxConfig, user, site.Conns+files+spare, dir, plain, threads, site.Root, site.NginxRate, cache, secure)
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(spec.Binary, "-p", dir, "-c", conf, "-e", "stderr"), nil
}
