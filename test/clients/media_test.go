package clients

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// video makes a film of 100 s whose picture says how late it is, and returns its size.
func video(t *testing.T, name string, args ...string) int64 {
	t.Helper()
	need(t, "ffmpeg")
	dir := filepath.Dir(name)
	args = append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=100", "-vf", "noise=alls=60:allf=t"}, args...)
	client(t, dir, "ffmpeg", append(args, name)...)
	return sizes(t, dir)[filepath.Base(name)]
}

// TestFFmpeg reads one picture near the end of a film, whose table is behind all pictures.
func TestFFmpeg(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "film.mp4")
	size := video(t, name, "-c:v", "mpeg4", "-q:v", "4", "-g", "10")
	picture := func(of string) string {
		t.Helper()
		return client(t, root, "ffmpeg", "-v", "error", "-ss", "90", "-i", of, "-frames:v", "1", "-f", "framemd5", "-")
	}
	want := picture(name)
	onBoth(t, root, func(t *testing.T, o *origin) {
		if got := picture(o.url + "film.mp4"); got != want || !strings.Contains(got, "0,") {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		o.wantParts("/film.mp4", size/2)
	})
}

// TestChromium seeks in a film, and downloads a file by a link of a listing.
func TestChromium(t *testing.T) {
	need(t, "chromium")
	root := big(t)
	size := video(t, filepath.Join(root, "film.mp4"), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10")
	write(t, filepath.Join(root, "film.html"), `<!DOCTYPE html><title>Film</title><video src="film.mp4" preload="metadata" muted></video>`)
	onBoth(t, root, func(t *testing.T, o *origin) {
		b := startBrowser(t)
		b.open(o.url + "film.html")
		var times []float64
		b.eval(`new Promise((done, failed) => {
			const film = document.querySelector('video'), seen = [];
			film.onerror = () => failed(film.error.message);
			film.onseeked = () => { seen.push(film.currentTime); seen.length < 3 ? film.currentTime = [95, 10][seen.length-1] : done(seen) };
			const seek = () => film.currentTime = 50;
			film.readyState > 0 ? seek() : film.onloadedmetadata = seek;
		})`, &times)
		if len(times) != 3 || times[0] != 50 || times[1] != 95 || times[2] != 10 {
			t.Errorf("sought to %v", times)
		}
		to := t.TempDir()
		b.download(to)
		b.open(o.url)
		var text string
		b.eval(`(() => { const link = [...document.querySelectorAll('td a')].find(a => a.innerText.trim() == '`+bigName+`');
			link.click(); return link.getAttribute('href') })()`, &text)
		if text != bigTarget {
			t.Errorf("the reference is %q", text)
		}
		b.await("Browser.downloadProgress", func(p json.RawMessage) bool {
			var progress struct{ State string }
			if err := json.Unmarshal(p, &progress); err != nil {
				t.Fatal(err)
			}
			return progress.State == "completed"
		})
		got, err := filepath.Glob(filepath.Join(to, "*"))
		if err != nil || len(got) != 1 {
			t.Fatalf("%q was downloaded, %v", got, err)
		}
		wantFile(t, got[0], filepath.Join(root, bigName)) // by a name that the browser likes
		b.close()
		time.Sleep(time.Second) // until the log has the requests that the browser has given up
		o.wantParts("/film.mp4", size)
	})
}
