package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// randomServers is how many servers a random configuration has, and randomConfigs how many of these
// there are; each server gets randomRequests.
const (
	randomServers  = 12
	randomConfigs  = 5
	randomRequests = 50
)

// randomFiles are those below the root, and randomPaths what requests ask for besides.
var randomFiles = []string{
	"f.txt", "index.html", "x.php", "a/f.txt", "a/index.html", "a/x.php", "a/b/f.txt", "a/b/x.bak", "a/b/index.html", "ab/f.txt", "ab.txt", "a.d/f.txt",
	"priv/f.txt", "priv/a/f.txt", "priv/x.bak", "private.txt", "b/f.txt", "b/c/f.txt", "b/c/x.php", "c.tar.gz",
}

var randomPaths = []string{"/", "/a", "/a/", "/a/b/", "/a/b", "/priv/", "/A/f.txt", "/a//f.txt", "/a/./b/f.txt", "/a/../priv/f.txt", "/%61/f.txt", "/none", "/a/none.txt", "/priv/../f.txt", "/b/c/../f.txt"}

// nginxWriter writes random configurations of nginx about who gets what.
type nginxWriter struct {
	*rand.Rand
	bytes.Buffer
	dir, head string
}

func (w *nginxWriter) pick(list ...string) string { return list[w.IntN(len(list))] }
func (w *nginxWriter) chance(percent int) bool    { return w.IntN(100) < percent }

func (w *nginxWriter) say(depth int, format string, args ...any) {
	fmt.Fprintf(w, strings.Repeat("  ", depth)+format+"\n", args...)
}

// rules writes what refuses and lets in.
func (w *nginxWriter) rules(depth int) {
	networks := []string{"127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "all", "all", "unix:"}
	switch w.IntN(8) {
	case 0, 1:
		for range 1 + w.IntN(4) {
			w.say(depth, "%s %s;", w.pick("allow", "deny"), w.pick(networks...))
		}
		if w.chance(70) {
			w.say(depth, "deny all;")
		}
	case 2:
		w.say(depth, "deny all;")
	case 3:
		w.say(depth, "auth_basic %s;", w.pick("off", "x", "x"))
		w.say(depth, "auth_basic_user_file %s/users;", w.dir)
	}
	if w.chance(10) {
		w.say(depth, "satisfy %s;", w.pick("any", "any", "all"))
	}
	if w.chance(8) {
		w.say(depth, "auth_basic %s;", "off")
	}
}

// answers writes what is done with what is let in.
func (w *nginxWriter) answers(depth int, match string) {
	switch w.IntN(22) {
	case 0:
		w.say(depth, "return %s;", w.pick("403", "404", "410", "444", "301 /b/f.txt", "302 https://other.example$request_uri", "200 said", "503"))
	case 1:
		w.say(depth, "internal;")
	case 2:
		w.say(depth, "try_files %s;", w.pick("$uri =404", "$uri $uri/ =404", "/none =404", "$uri /b/f.txt", "/b/f.txt =404", "$uri.txt $uri =403", "$uri $uri/ /index.html", "/priv/f.txt /f.txt"))
	case 3:
		w.say(depth, "limit_except %s { deny all; }", w.pick("GET", "POST", "HEAD", "GET POST"))
	case 4:
		w.say(depth, "valid_referers %s;", w.pick("none", "none blocked server_names", "*.example.com", "a.example ~\\.b\\."))
		w.say(depth, "if ($invalid_referer) { return 403; }")
	case 5:
		w.say(depth, "if (%s) { return %s; }", w.pick("$http_user_agent ~* bad", "$request_method != GET", "$remote_addr = 127.0.0.1", "$arg_k != y", "$http_x_key != k", "$uri ~ priv",
			"$scheme = http", "$host ~ s[1-3]", "!-e $request_filename", "$http_cookie !~ x", "$args !~ k=y"), w.pick("403", "404", "301 /b/f.txt"))
	case 6:
		w.say(depth, "rewrite %s;", w.pick("^/a/(.*)$ /b/$1 permanent", "^/priv /b/f.txt last", "^(.*)$ /b/f.txt break", "^/b/ /priv/f.txt redirect", "^/old/(.*) /$1"))
	case 7:
		if match != "" && !strings.HasPrefix(match, "~") && !strings.Contains(match, ".") {
			w.say(depth, "alias %s%s;", w.dir, map[bool]string{true: "/root/b/", false: "/root/b"}[strings.HasSuffix(match, "/")])
		}
	case 8:
		w.say(depth, "root %s%s;", w.dir, w.pick("/root/b", "/root/a", "/root"))
	case 9:
		w.say(depth, "error_page %s;", w.pick("403 =200 /e.html", "404 /e.html", "403 404 =200 /b/e.html", "403 /b/e.html"))
	case 10:
		w.say(depth, "index %s;", w.pick("f.txt", "none f.txt", "x.php index.html"))
	case 11:
		w.say(depth, "proxy_pass http://127.0.0.1:9;")
	case 12, 13:
		w.say(depth, "expires 1d;")
	case 14:
		w.say(depth, "access_log %s;", w.pick("off", w.dir+"/access.log"))
	case 15:
		w.say(depth, "autoindex on;")
	}
}

// locations writes those of a server or of another location, which is below a prefix.
func (w *nginxWriter) locations(depth int, below string, exact bool) {
	seen := make(map[string]bool)
	for range w.IntN(6 - 2*depth + 1) {
		match := ""
		switch w.IntN(9) {
		case 0, 1, 2:
			match = w.pick("/a/", "/a", "/a/b/", "/priv/", "/priv", "/b/", "/b/c/", "/ab", "/", "/a/b/f", "/c.tar")
		case 3:
			match = "^~ " + w.pick("/a/", "/priv/", "/priv", "/b/", "/a/b/")
		case 4:
			match = "= " + w.pick("/f.txt", "/a/f.txt", "/priv/f.txt", "/", "/a/", "/a")
		case 5, 6:
			match = "~ " + w.pick(`\.txt$`, `\.php$`, `^/priv`, `^/a/.*\.txt$`, `/b/`, `^/(a|b)/`, `\.(bak|php)$`, `f`, `^/a/b/(.*)$`, `/\.`)
		case 7:
			match = "~* " + w.pick(`\.TXT$`, `\.bak$`, `^/A/`, `PRIV`)
		case 8:
			match = "~ " + w.pick(`^/(?!a/)`, `^/priv(?=/)`, `\.(?:txt|php)$`, `^/(?<n>a|b)/`)
		}
		plain := strings.TrimLeft(match, "=^~ ")
		inside := strings.HasPrefix(plain, below) && !strings.HasPrefix(match, "=") || strings.HasPrefix(match, "~")
		key := strings.TrimPrefix(match, "^~ ")
		if exact || !inside && depth > 1 || seen[key] {
			continue
		}
		seen[key] = true
		w.say(depth, "location %s {", match)
		w.rules(depth + 1)
		w.answers(depth+1, match)
		if depth < 3 && w.chance(25) {
			next := plain
			if strings.HasPrefix(match, "~") {
				next = "\x00" // regular expressions only
			}
			w.locations(depth+1, next, strings.HasPrefix(match, "="))
		}
		w.say(depth, "}")
	}
}

// server writes a server that nginx takes: not every directive may stand everywhere, or twice.
func (w *nginxWriter) server(t *testing.T, i int, socket string) {
	t.Helper()
	before := w.Len()
	for {
		w.say(1, "server {")
		at := w.pick("", "2", "", "2", "both")
		if at != "2" || i == 0 {
			w.say(2, "listen unix:%s%s;", socket, map[bool]string{true: " default_server"}[i == 0 && w.chance(50)])
		}
		if at != "" || i == 1 {
			w.say(2, "listen unix:%s2;", socket)
		}
		w.say(2, "server_name s%d.example; root %s/root;", i, w.dir)
		w.rules(2)
		if w.chance(40) {
			w.answers(2, "")
		}
		w.locations(2, "", false)
		w.say(1, "}")
		trial := filepath.Join(w.dir, "trial.conf")
		writeFile(t, trial, w.head+w.String()[before:]+"}\n")
		if exec.Command(nginxBinary(t), "-t", "-p", w.dir, "-c", trial, "-e", "stderr").Run() == nil {
			return
		}
		w.Truncate(before)
	}
}

// write writes a whole configuration that listens at a Unix socket.
func (w *nginxWriter) write(t *testing.T, socket string) {
	t.Helper()
	w.say(0, "daemon off; master_process off; pid %s/nginx.pid; error_log %s/error.log; events {}", w.dir, w.dir)
	w.say(0, "http {")
	w.say(1, "client_body_temp_path %[1]s/t; proxy_temp_path %[1]s/t; fastcgi_temp_path %[1]s/t; uwsgi_temp_path %[1]s/t; scgi_temp_path %[1]s/t;", w.dir)
	w.say(1, "access_log off; set_real_ip_from unix:; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP; default_type text/plain;")
	w.head = w.String()
	for i := range randomServers {
		w.server(t, i, socket)
	}
	w.say(0, "}")
}

// nginxBinary finds the nginx of this machine, or skips the test.
func nginxBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} { // Debian's is not in the path of users
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("FSERVE_REQUIRE_NGINX") == "1" {
		t.Fatal("nginx is required here")
	}
	t.Skip("no nginx")
	return ""
}

// runNginx runs nginx at a Unix socket until the end of the test.
func runNginx(t *testing.T, dir, conf, socket string) {
	t.Helper()
	cmd := exec.Command(nginxBinary(t), "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
	})
	if !testenv.Eventually(patience, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		text, _ := os.ReadFile(conf)
		t.Fatalf("nginx: %s\n%s", out.Bytes(), text)
	}
}

// asked is a request of a random test.
type asked struct{ host, method, path, client, referer, agent, login string }

func (w *nginxWriter) request() asked {
	q := asked{
		host: fmt.Sprintf("s%d.example", w.IntN(randomServers+1)), method: "GET", path: "/" + w.pick(randomFiles...),
		client:  w.pick("127.0.0.1", "10.1.2.3", "10.2.0.1", "192.0.2.1", "192.0.2.7", "2001:db8::1", "203.0.113.1"),
		referer: w.pick("", "", "http://a.example/", "http://x.example.com/", "http://evil/", "https://s1.example/", "junk"), agent: w.pick("good", "bad", ""),
		login: w.pick("", "", "joe:right", "joe:wrong"),
	}
	if w.chance(30) {
		q.path = w.pick(randomPaths...)
	}
	if w.chance(10) {
		q.method = w.pick("HEAD", "POST", "PUT", "OPTIONS")
	}
	if w.chance(10) {
		q.path += "?k=y"
	}
	return q
}

// ask sends a request, each by a connection of its own.
func (q *asked) ask(t *testing.T, socket string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: q.method, Header: make(http.Header)}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nX-Real-IP: %s\r\nConnection: close\r\n", q.method, q.path, q.host, q.client)
	for name, value := range map[string]string{"Referer": q.referer, "User-Agent": q.agent} {
		if value != "" {
			head += name + ": " + value + "\r\n"
		}
	}
	if user, password, ok := strings.Cut(q.login, ":"); ok {
		r.SetBasicAuth(user, password)
		head += "Authorization: " + r.Header.Get("Authorization") + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil { // 444
		return 444, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Whatever a configuration says of who gets what, what nginx does not serve is not served with what
// import makes of it.
func TestImportedConfigurationsOpenNothing(t *testing.T) {
	nginxBinary(t)
	seed := testenv.Seed(t)
	var all, open, closed, other int
	for i := range randomConfigs {
		w := &nginxWriter{Rand: rand.New(rand.NewPCG(seed, uint64(i))), dir: t.TempDir()}
		for _, name := range randomFiles {
			writeFile(t, filepath.Join(w.dir, "root", name), "file "+name)
		}
		for _, name := range []string{"e.html", "b/e.html", "a/e.html", "b/b/e.html"} { // what is named as a page is shown
			writeFile(t, filepath.Join(w.dir, "root", name), "page")
		}
		writeFile(t, filepath.Join(w.dir, "users"), "joe:$2y$04$4khvjMDqySsvl74KBEicbOyNKpDSXJpm8OIQ351a6cnzgIqiAvr0K\n" /* right */)
		socket, ours := filepath.Join(w.dir, "n"), filepath.Join(w.dir, "f")
		w.write(t, socket)
		conf := filepath.Join(w.dir, "nginx.conf")
		writeFile(t, conf, w.String())
		runNginx(t, w.dir, conf, socket)
		r := fserve(t, nil, "import", "nginx", conf)
		yaml := filepath.Join(w.dir, "fserve.yaml")
		writeFile(t, yaml, strings.ReplaceAll(r.stdout, "unix:"+socket, "unix:"+ours))
		serve(t, nil, "-c", yaml, "--listen", "unix:"+ours+",unix:"+ours+"2")
		for range randomServers * randomRequests {
			q := w.request()
			which := w.pick("", "2")
			theirs, they := q.ask(t, socket+which)
			mine, body := q.ask(t, ours+which)
			all++
			switch {
			case mine == 200 && theirs >= 400 && strings.HasPrefix(body, "file "):
				open++
				t.Errorf("config %d: %+v: %d %q, nginx %d", i, q, mine, body, theirs)
			case mine == 200 && theirs == 200 && body != they && strings.HasPrefix(body, "file "):
				other++
				if os.Getenv("OTHER") != "" {
					t.Logf("config %d: %+v: %q, nginx %q", i, q, body, they)
				}
			case mine != 200 && theirs == 200:
				closed++
			}
		}
		if t.Failed() {
			t.Logf("%s\n%s\n%s", w.String(), r.stdout, r.stderr)
			break
		}
	}
	t.Logf("%d requests: %d that nginx refuses are served, %d that it serves are not, %d get another file", all, open, closed, other)
}
