package nginxconf

import (
	"slices"
	"strconv"

	"github.com/fserve/fserve/server/httpfile"
)

// ours are the names that media types of nginx and of its users have in the built-in table.
var ours = map[string]string{
	"application/javascript": "text/javascript", "application/x-javascript": "text/javascript", "text/xml": "application/xml",
	"application/x-font-ttf": "font/ttf", "application/x-font-truetype": "font/ttf", "font/truetype": "font/ttf",
	"application/x-font-opentype": "font/otf", "font/opentype": "font/otf", "image/x-icon": "image/vnd.microsoft.icon",
}

// doGzipTypes leaves out what is compressed by itself, which fserve never compresses.
func doGzipTypes(_ *translator, s *scope, d *directive) {
	types := []string{}
	for _, t := range d.args {
		if same := ours[t]; same != "" && !slices.Contains(d.args, same) && !slices.Contains(types, same) {
			types = append(types, same)
		}
		if _, err := httpfile.NewPolicy(httpfile.Config{Compress: &httpfile.Compression{Types: []string{t}}}); err == nil {
			types = append(types, t)
		}
	}
	s.began["gzip_types"] = true
	s.settings["gzip_types"] = types
}

func doGzipSize(t *translator, s *scope, d *directive) {
	n, err := strconv.Atoi(d.arg(0))
	if err != nil || n < 0 || n > 1<<20 {
		t.leave(s, d, "a size in bytes is needed, up to that at which compression ends, 1 MiB")
		return
	}
	s.began["gzip_min_length"] = true
	s.settings["gzip_min_length"] = max(n, 1)
}

func doGzipLevel(t *translator, s *scope, d *directive) {
	n, err := strconv.Atoi(d.arg(0))
	if err != nil || n < 1 || n > 9 {
		t.leave(s, d, "a level is from 1 to 9")
		return
	}
	s.began["gzip_comp_level"] = true
	s.settings["gzip_comp_level"] = n
}

// compression is what is compressed where gzip is on, with nginx's defaults where nothing else is
// said.
func compression(set settings) ordered {
	types, _ := set["gzip_types"].([]string)
	if slices.Contains(types, "*") {
		types = []string{"*"}
	} else if !slices.Contains(types, "text/html") {
		types = append([]string{"text/html"}, types...)
	}
	size, ok := set["gzip_min_length"].(int)
	if !ok {
		size = 20
	}
	level, ok := set["gzip_comp_level"].(int)
	if !ok {
		level = 1
	}
	return ordered{{"types", types}, {"min_size", strconv.Itoa(size) + "B"}, {"level", level}}
}
