package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// secret is the content of what lies outside the root.
const secret = "nobody may see this"

// besides makes a root with a neighbour that must not be seen.
func besides(t *testing.T) (root string) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret.txt"), []byte(secret))
	writeFile(t, filepath.Join(dir, "root2", "secret.txt"), []byte(secret))
	writeFile(t, filepath.Join(dir, "root", "f.txt"), []byte(hello))
	writeFile(t, filepath.Join(dir, "root", "sub", "g.txt"), []byte("g"))
	return filepath.Join(dir, "root")
}

func TestPathsStayInside(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, links := range []openfile.Symlinks{openfile.SymlinksInside, openfile.SymlinksFollow, openfile.SymlinksDeny} {
			g := start(t, d, server.Config{Site: server.Site{Root: besides(t), Symlinks: links}})
			for _, test := range []struct {
				target string
				status int
			}{
				{"/../secret.txt", 400},
				{"/sub/../../secret.txt", 400},
				{"/sub/../f.txt", 200}, // what clients make of it before they send it
				{"/./sub/./../f.txt", 200},
				{"/%2e%2e/secret.txt", 400},
				{"/%2E./secret.txt", 400},
				{"/sub/%2e%2e/f.txt", 400},
				{"/..%2fsecret.txt", 400},
				{"/%2e%2e%2fsecret.txt", 400},
				{"/..%5csecret.txt", 404},
				{"/sub%2f..%2f..%2fsecret.txt", 400},
				{"/%252e%252e/secret.txt", 404},
				{"/%c0%ae%c0%ae/secret.txt", 404}, // overlong UTF-8 for dots
				{"/..;/secret.txt", 404},
				{"/../root2/secret.txt", 400},
				{"/f.txt%00.html", 400},
				{"/f.txt%0d%0aX:%20y", 404},
				{"/f.txt%", 400},
				{"/f.txt%2", 400},
				{"/f.txt%zz", 400},
				{"/....//secret.txt", 404},
				{"/proc/self/root/etc/passwd", 404},
				{"http://files.example/../secret.txt", 400},
				{"/%66.txt", 200},
				{"/sub//g.txt", 200},
				{"//f.txt", 200},
				{"/" + strings.Repeat("a", 300), 404},         // longer than any name
				{"/" + strings.Repeat("a/", 3000) + "f", 404}, // longer than any path
			} {
				r := g.once(http.MethodGet, test.target)
				if r.status != test.status || strings.Contains(string(r.body), secret) {
					t.Errorf("links %d, %.60q: %d %.60q, want %d", links, test.target, r.status, r.body, test.status)
				}
			}
		}
	})
}

// Every byte but NUL and the slash may stand in a name, and an encoded slash is one.
func TestNames(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		refuse := server.Site{Root: t.TempDir(), Files: httpfile.Config{RefuseEncodedSlash: true}}
		writeFile(t, filepath.Join(refuse.Root, "strict/scope/f"), []byte("strict"))
		g := start(t, d, server.Config{
			Site:      server.Site{Root: t.TempDir(), Listing: true},
			Locations: []server.Location{{Match: "/strict/", Site: refuse}},
		})
		c := g.dial()
		for name, target := range map[string]string{
			"systemd\\x2d.conf": "/systemd%5Cx2d.conf", "a\tb": "/a%09b", "a\r\nb": "/a%0d%0Ab", "\x7f\x01": "/%7f%01", "\xff\xfe": "/%ff%fe",
			"@scope/name": "/@scope%2fname",
		} {
			g.write(name, "content of "+name)
			c.get(target).want(t, 200, "content of "+name)
		}
		if body := string(c.get("/", "Accept: application/json").body); strings.Count(body, `"name"`) != 6 {
			t.Errorf("not all are listed: %s", body)
		}
		c.get(`/systemd\x2d.conf`).want(t, 200)
		c.get("/strict/scope/f").want(t, 200, "strict")
		c.get("/strict/scope%2ff").want(t, 400)
		c.get("/strict%2Fscope/f").want(t, 400)
	})
}

func TestSymlinks(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := besides(t)
		for name, to := range map[string]string{
			"inside":     "sub/g.txt",
			"sub/up":     "../f.txt",
			"dir":        "sub",
			"outside":    "../secret.txt",
			"absolute":   filepath.Join(root, "f.txt"),
			"parent":     "..",
			"loop":       "loop",
			"dangling":   "nowhere",
			"proc":       "/proc/self/fd",
			"sub/beyond": "../../secret.txt",
		} {
			if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		tests := []struct {
			target               string
			inside, follow, deny int
		}{
			{"/inside", 200, 200, 404},
			{"/sub/up", 200, 200, 404},
			{"/dir/g.txt", 200, 200, 404},
			{"/dir", 301, 301, 404},
			{"/outside", 404, 200, 404},
			{"/absolute", 404, 200, 404},
			{"/parent/secret.txt", 404, 200, 404},
			{"/sub/beyond", 404, 200, 404},
			{"/loop", 403, 403, 404},
			{"/dangling", 404, 404, 404},
			{"/proc/0", 404, 403, 404}, // a magic link, which is not followed
			{"/f.txt", 200, 200, 200},
		}
		for i, links := range []openfile.Symlinks{openfile.SymlinksInside, openfile.SymlinksFollow, openfile.SymlinksDeny} {
			g := start(t, d, server.Config{Site: server.Site{Root: root, Symlinks: links}})
			for _, test := range tests {
				want := []int{test.inside, test.follow, test.deny}[i]
				if r := g.once(http.MethodGet, test.target); r.status != want {
					t.Errorf("links %d, %s: %d, want %d", links, test.target, r.status, want)
				}
			}
		}
	})
}

func TestDotfiles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write(".env", secret)
		g.write(".git/config", secret)
		g.write("sub/.hidden", secret)
		g.write(".well-known/security.txt", "contact")
		g.write(".well-known/.hidden", secret)
		g.write("..name", secret)
		for target, status := range map[string]int{
			"/.env": 404, "/%2eenv": 404, "/.git/config": 404, "/.git/": 404, "/.git": 404, "/sub/.hidden": 404,
			"/..name": 404, "/.well-known/security.txt": 200, "/.well-known/.hidden": 404,
		} {
			if r := g.once(http.MethodGet, target); r.status != status {
				t.Errorf("%s: %d, want %d", target, r.status, status)
			}
		}
		all := start(t, d, server.Config{Site: server.Site{Root: g.root, Files: httpfile.Config{Dotfiles: true}}})
		all.once(http.MethodGet, "/.git/config").want(t, 200, secret)
	})
}

// What is not a regular file is not served, and opening it does not wait: a
// FIFO would, for its other end.
func TestSpecialFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		if err := unix.Mkfifo(filepath.Join(g.root, "fifo"), 0o644); err != nil {
			t.Fatal(err)
		}
		sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(sock)
		if err := unix.Bind(sock, &unix.SockaddrUnix{Name: filepath.Join(g.root, "sock")}); err != nil {
			t.Fatal(err)
		}
		g.write("dir/f", "")
		if err := unix.Mkfifo(filepath.Join(g.root, "dir/index.html"), 0o644); err != nil {
			t.Fatal(err)
		}
		c := g.dial()
		c.get("/fifo").want(t, 404)
		c.get("/sock").want(t, 404)
		c.get("/dir/").want(t, 404)
	})
}

// A device is 404, where one can be made.
func TestDevice(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		path := filepath.Join(g.root, "zero")
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
			t.Skipf("mknod: %v", err)
		}
		g.once(http.MethodGet, "/zero").want(t, 404)
	})
}

// Without a descriptor to open a file with, the answer is 503, says when to come again, and
// ends the connection. The connections that rest end as well, so the next client is served.
func TestNoDescriptorsLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		testenv.LimitFDs(t, 200)
		for _, target := range []string{"/f.txt", "/sub/"} { // each with a cache of its own
			g := start(t, d, server.Config{})
			g.write("f.txt", hello)
			g.write("sub/index.html", hello)
			c, idle := g.dial(), [2]*client{g.dial(), g.dial()}
			for _, c := range append(idle[:], c) {
				c.get("/nothing").want(t, 404) // the connection is accepted
			}
			restore := testenv.ExhaustFDs(t)
			r := c.get(target)
			r.want(t, 503, "503 Service Unavailable\n")
			r.wantField(t, "Retry-After", "1")
			r.wantField(t, "Connection", "close")
			c.wantEnd()
			idle[0].wantEnd()
			restore()
			g.once(http.MethodGet, target).want(t, 200, hello)
		}
	})
}
