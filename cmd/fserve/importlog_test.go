package main_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// loggingNginx logs by host and by location. @ is the directory of the test.
const loggingNginx = `daemon off; master_process off; pid @/nginx.pid; error_log @/error.log; events {}
http {
  client_body_temp_path @/t; proxy_temp_path @/t; fastcgi_temp_path @/t; uwsgi_temp_path @/t; scgi_temp_path @/t;
  set_real_ip_from unix:; real_ip_header X-Real-IP; root @/root; server_tokens off;
  log_format main '$remote_addr - $remote_user [$time_local] "$request" '
                  '$status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" $host $scheme';
  log_format js escape=json '{"host":"$host","uri":"$request_uri","args":"$args","status":$status,"agent":"$http_user_agent","ref":"$http_referer"}';
  log_format lacking '$status $upstream_addr ${request_method} $ssl_cipher "$upstream_status" $request_completion';
  log_format plain 'no variable';
  access_log @/logs/main.log main buffer=4k flush=1s;
  server { listen unix:@/n; server_name a.example;
    location /quiet/ { access_log off; }
    location /json/ { access_log @/logs/json.log js; }
    location /old/ { access_log @/logs/old.log combined; }
    location = /lacking { access_log @/logs/lacking.log lacking; }
    location /twice/ { access_log @/logs/twice.log; access_log @/logs/more.log main; }
    location /shared/ { access_log @/logs/main.log combined; }
    location /named/ { access_log @/logs/$host.log; }
    location /if/ { access_log @/logs/if.log main if=$arg_log; }
  }
  server { listen unix:@/n; server_name b.example; access_log syslog:server=unix:@/syslog,severity=notice main;
    location /json/ { access_log syslog:server=unix:@/syslog,nohostname,tag=other,facility=mail js; }
  }
  server { listen unix:@/n; server_name c.example; access_log off;
    location /on/ { access_log @/logs/on.log js; }
  }
}
`

// The access logs of an imported configuration have the lines that nginx writes: by host, location and
// format, to files and syslog. What is not so is named.
func TestImportedAccessLogs(t *testing.T) {
	nginxBinary(t)
	dir := t.TempDir()
	for _, name := range []string{"f", "quiet/f", "json/f", "old/f", "lacking", "twice/f", "if/f", "on/f"} {
		writeFile(t, filepath.Join(dir, "root", name), "file")
	}
	if err := os.Mkdir(dir+"/logs", 0o755); err != nil {
		t.Fatal(err)
	}
	received, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/syslog", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer received.Close()
	writeFile(t, dir+"/nginx.conf", strings.ReplaceAll(loggingNginx, "@", dir))
	runNginx(t, dir, dir+"/nginx.conf", dir+"/n")
	r := fserve(t, nil, "import", "nginx", dir+"/nginx.conf")
	for _, want := range []string{
		":8: log_format lacking", "there are no variables $upstream_addr, $ssl_cipher, $upstream_status: they are empty in the lines",
		":9: log_format plain no variable: a format has variables", ":16: access_log", "one more", ":17: access_log", "a file has one format: that of",
		":18: access_log", "the name of a log has no variables", ":19: access_log", "lines have no condition", ":22: access_log", "messages have the name of the host",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is not said:\n%s", want, r.stderr)
		}
	}
	if err := os.Mkdir(dir+"/ours", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/fserve.yaml", strings.NewReplacer(dir+"/logs/", dir+"/ours/", "unix:"+dir+"/n", "unix:"+dir+"/f").Replace(r.stdout))
	serve(t, nil, "-c", dir+"/fserve.yaml", "--listen", "unix:"+dir+"/f")
	for _, socket := range []string{dir + "/n", dir + "/f"} {
		for _, q := range []asked{
			{host: "a.example", path: "/f"}, {host: "a.example", path: "/f?k='v'", referer: "http://r/", agent: `q"uo\te`}, {host: "a.example", path: "/quiet/f"},
			{host: "a.example", path: "/json/f?x=1", agent: `q"uo\te`}, {host: "a.example", path: "/old/f", agent: "a"}, {host: "a.example", path: "/lacking", method: "HEAD"},
			{host: "a.example", path: "/twice/f"}, {host: "a.example", path: "/if/f?log=1"},
			{host: "b.example", path: "/f"}, {host: "b.example", path: "/json/f"},
			{host: "c.example", path: "/f"}, {host: "c.example", path: "/on/f"},
		} {
			if q.client = "192.0.2.7"; q.method == "" {
				q.method = "GET"
			}
			q.ask(t, socket)
		}
	}
	times := regexp.MustCompile(`\[[^]]* \+0000\]`)
	for _, name := range []string{"main.log", "json.log", "old.log", "lacking.log", "twice.log", "if.log", "on.log"} {
		var want, got string
		if !testenv.Eventually(patience, func() bool {
			want, got = times.ReplaceAllString(textOf(dir+"/logs/"+name), "[]"), times.ReplaceAllString(textOf(dir+"/ours/"+name), "[]")
			return want == got && want != ""
		}) {
			t.Errorf("%s:\n%snginx:\n%s", name, got, want)
		}
	}
	if text := textOf(dir + "/ours/more.log"); text != "" {
		t.Errorf("more.log: %q", text)
	}
	messages := make(map[string]int)
	header := regexp.MustCompile(`^(<\d+>)(?:1 \S+ \S+ (\S+) \d+ - - |\w{3} [ \d]\d [\d:]+ (?:[^ :]+ )?(\w+): )`)
	for range 4 {
		buf := make([]byte, 4096)
		if err := received.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := received.Read(buf)
		if err != nil {
			t.Fatal(err, messages)
		}
		messages[times.ReplaceAllString(header.ReplaceAllString(string(buf[:n]), "$1 $2$3 "), "[]")]++
	}
	for m, n := range messages {
		if n != 2 {
			t.Errorf("%d times: %s", n, m)
		}
	}
	if t.Failed() {
		t.Log(r.stdout, r.stderr)
	}
}

// textOf is the content of a file; empty: there is none.
func textOf(path string) string {
	b, _ := os.ReadFile(filepath.Clean(path))
	return string(b)
}
