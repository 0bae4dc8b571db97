package main_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// What nginx refuses is not served with the configuration that is made of its own, however locations
// overlap there and whatever cannot be said.
func TestImportOpensNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"private/a.txt", "wp/x.php", "wp/a.txt", "pub/a.txt", "pub/x.bak", "app/in/f", "backup/f", "privately", "d.tar.gz", "api/a.txt", "up/f", "f"} {
		writeFile(t, filepath.Join(dir, name), name)
	}
	writeFile(t, dir+"/nginx.conf", strings.ReplaceAll(`
server { listen 80; server_name order; root ROOT;
  location ~ ^/private/ { deny all; }
  location ~ \.txt$ { expires 1d; }
  location ~ /\.git|/backup/ { deny all; }
  location ^~ /wp/ { location ~ \.php$ { fastcgi_pass x; } }
  location /app/ { internal; location /app/in/ { expires 1d; } }
}
server { listen 80; server_name nested; root ROOT;
  location / { location ~ \.txt$ { expires 1d; } location ~* \.bak$ { deny all; } }
  location /pub/ { location ~ \.txt$ { expires 1d; } }
  location /private/ { deny all; }
  location ^~ /api { return 404; }
  location ~ \.gz$ { expires 1d; }
}
server { listen 80; server_name inexact; root ROOT; allow 127.0.0.0/8; deny all;
  location /priv { deny all; }
  location /d.tar { auth_basic x; }
  location ~ ^/(?!pub/) { deny all; }
  location /up/ { try_files /none @app; }
  location /pub/ { limit_except PUT { deny all; } }
}
server { listen 80; server_name all; root ROOT; return 403; location /pub/ { expires 1d; } }
server { listen 80; server_name cond; root ROOT; if ($remote_addr != 192.0.2.1) { return 403; } location /pub/ { expires 1d; } }
server { listen 127.0.0.1:81; server_name inside; root ROOT; location /pub/ { allow 192.0.2.1; deny all; } }
`, "ROOT", dir))
	r := fserve(t, nil, "import", "nginx", dir+"/nginx.conf")
	writeFile(t, dir+"/fserve.yaml", strings.NewReplacer("0.0.0.0:80", "127.0.0.1:0", "127.0.0.1:81", "localhost:0").Replace(r.stdout))
	p := serve(t, nil, "-c", dir+"/fserve.yaml", "--listen", "127.0.0.1:0,localhost:0")
	for _, c := range []struct{ host, path, want string }{
		{"order", "/private/a.txt", "403"}, {"order", "/pub/a.txt", "200"}, {"order", "/backup/f", "403"}, {"order", "/wp/x.php", "404"}, {"order", "/wp/a.txt", "200"},
		{"order", "/app/in/f", "404"},
		{"nested", "/private/a.txt", "403"}, {"nested", "/pub/a.txt", "200"}, {"nested", "/pub/x.bak", "403"}, {"nested", "/api/a.txt", "404"}, {"nested", "/d.tar.gz", "200"},
		{"inexact", "/private/a.txt", "403"}, {"inexact", "/privately", "403"}, {"inexact", "/d.tar.gz", "403"}, {"inexact", "/f", "403"}, {"inexact", "/up/f", "403"},
		{"inexact", "/pub/a.txt", "403"},
		{"all", "/pub/a.txt", "403"}, {"cond", "/f", "403"}, {"cond", "/pub/a.txt", "403"}, {"inside", "/f", "421"}, {"inside", "/pub/a.txt", "421"},
	} {
		q, err := http.NewRequest(http.MethodGet, p.url(c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = c.host
		got, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if !strings.HasPrefix(got.Status, c.want) {
			t.Errorf("%s%s: %s, want %s", c.host, c.path, got.Status, c.want)
		}
	}
	if t.Failed() {
		t.Log(r.stdout)
	}
}
