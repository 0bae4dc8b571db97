package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestApt updates from a repository, by hash, and fetches all packages of it.
func TestApt(t *testing.T) {
	need(t, "apt-get", "apt-ftparchive", "dpkg-deb")
	root := t.TempDir()
	names := make([]string, 0, 30)
	for i := range cap(names) {
		name := fmt.Sprintf("lib%d++", i)
		work := filepath.Join(t.TempDir(), "package")
		write(t, filepath.Join(work, "DEBIAN", "control"), fmt.Sprintf("Package: %s\nVersion: 1.0+b%d~rc1\nArchitecture: all\n"+
			"Maintainer: nobody <nobody@files.example>\nDescription: nothing\n", name, i))
		noise(t, filepath.Join(work, "usr", "share", name), i*50_000)
		if err := os.MkdirAll(filepath.Join(root, "pool"), 0o755); err != nil {
			t.Fatal(err)
		}
		client(t, root, "dpkg-deb", "--root-owner-group", "-Znone", "-b", work, "pool")
		names = append(names, name)
	}
	packages := client(t, root, "apt-ftparchive", "packages", "pool")
	write(t, filepath.Join(root, "Packages"), packages)
	write(t, filepath.Join(root, "Release"), client(t, root, "apt-ftparchive", "release", "."))
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		write(t, filepath.Join(to, "sources.list"), "deb [trusted=yes] "+o.url+" ./\n")
		write(t, filepath.Join(to, "status"), "")
		for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "etc"} {
			if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(to, "apt.conf"), fmt.Sprintf(`Dir "%s"; Dir::Etc "etc"; Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "-";
			Dir::State "state"; Dir::State::status "%[1]s/status"; Dir::Cache "cache"; APT::Sandbox::User "root"; Acquire::Languages "none";`, to))
		apt := func(args ...string) {
			t.Helper()
			client(t, to, "env", append([]string{"APT_CONFIG=" + filepath.Join(to, "apt.conf"), "apt-get", "-q"}, args...)...)
		}
		apt("update")
		apt(append([]string{"install", "-y", "--download-only"}, names...)...)
		got := make(map[string]bool)
		for _, content := range tree(t, filepath.Join(to, "cache", "archives")) {
			got[content] = true
		}
		for name, content := range tree(t, filepath.Join(root, "pool")) {
			if !got[content] {
				t.Errorf("%s was not fetched", name)
			}
		}
	})
}

// TestGit clones a repository that is nothing but files, and fetches what is new.
func TestGit(t *testing.T) {
	need(t, "git")
	root, work := t.TempDir(), t.TempDir()
	git := func(dir string, args ...string) string {
		t.Helper()
		return strings.TrimSpace(client(t, dir, "git", append([]string{"-c", "user.name=nobody", "-c", "user.email=nobody@files.example",
			"-c", "init.defaultBranch=main", "-c", "gc.auto=0", "-c", "protocol.version=0"}, args...)...))
	}
	commit := func(i int) {
		t.Helper()
		noise(t, filepath.Join(work, fmt.Sprintf("file %d", i)), 100_000)
		git(work, "add", ".")
		git(work, "commit", "-qm", fmt.Sprint("commit ", i))
		git(work, "push", "-q", filepath.Join(root, "repo.git"), "main")
		git(filepath.Join(root, "repo.git"), "update-server-info")
	}
	git(root, "init", "-q", "--bare", "repo.git")
	git(work, "init", "-q")
	for i := range 5 {
		commit(i)
	}
	git(filepath.Join(root, "repo.git"), "repack", "-adq")
	commit(5) // and loose objects
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		git(to, "clone", "-q", o.url+"repo.git", "clone")
		clone := filepath.Join(to, "clone")
		git(clone, "fsck", "--strict")
		commit(len(tree(t, clone)))
		want := git(work, "rev-parse", "HEAD")
		eventually(t, func() bool {
			git(clone, "fetch", "-q")
			return git(clone, "rev-parse", "origin/main") == want
		})
		git(clone, "merge", "-q", "--ff-only", "origin/main")
		git(clone, "fsck", "--strict")
		if s := git(clone, "status", "--porcelain"); s != "" {
			t.Error(s)
		}
	})
}

// eventually waits as long as a server may believe what it has opened, and some more.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 20 {
		if ok() {
			return
		}
		time.Sleep(time.Second / 2)
	}
	t.Error("the new version is not seen")
}

// TestOSTree pulls a tree, and then its next version.
func TestOSTree(t *testing.T) {
	need(t, "ostree")
	root, work := t.TempDir(), t.TempDir()
	repo := filepath.Join(root, "repo")
	client(t, root, "ostree", "--repo="+repo, "init", "--mode=archive")
	commit := func(i int) {
		t.Helper()
		noise(t, filepath.Join(work, fmt.Sprintf("file %d", i)), 100_000)
		client(t, work, "ostree", "--repo="+repo, "commit", "-b", "main", "--tree=dir="+work)
		client(t, work, "ostree", "--repo="+repo, "summary", "-u")
	}
	for i := range 5 {
		commit(i)
	}
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		ostree := func(args ...string) string {
			t.Helper()
			return strings.TrimSpace(client(t, to, "ostree", append([]string{"--repo=" + filepath.Join(to, "repo")}, args...)...))
		}
		ostree("init", "--mode=bare-user-only")
		ostree("remote", "add", "--no-gpg-verify", "origin", o.url+"repo")
		for i := range 2 {
			want := strings.TrimSpace(client(t, root, "ostree", "--repo="+repo, "rev-parse", "main"))
			eventually(t, func() bool {
				ostree("pull", "origin", "main")
				return ostree("rev-parse", "origin:main") == want
			})
			out := filepath.Join(to, fmt.Sprint("out", i))
			ostree("checkout", "-U", "origin:main", out)
			wantTree(t, out, work, nil)
			commit(len(tree(t, work)))
		}
		ostree("fsck")
	})
}
