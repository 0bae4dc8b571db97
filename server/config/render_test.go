package config

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

func TestRender(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
root: /r
unix_mode: 600
access_log: {file: "off", format: json}
files:
  cache_control:
    - {match: "*.html", value: "a: b, c"}
    - /x=y
limits:
  client: 1MiB/s
  connection: {rate: 1MiB/s, burst: 2MiB}
  paths:
    /a/: {rate: 80Mbit/s, weight: 4}
admin: {token: hush}
`)
	l := load(t, sources(t, []string{"FSERVE_WORKERS=3"}, "--config", dir+"/f.yaml", "--listen=a:1", "--listen=b:1"))
	out, err := Rendering{Origins: l.Origins}.Render(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(out), dir+"/", "")
	const want = `root: /r # f.yaml:2:7
release: '' # default
redirect: '' # default
respond: '' # default
try: [] # default
listen: # --listen
- a:1
- b:1
unix_mode: 0600 # f.yaml:3:12
pid_file: '' # default
tls:
  listen: [] # default
  cert: '' # default
  key: '' # default
  pairs: [] # default
  unknown_name: default # default
  min_version: '1.2' # default
  ciphers: [] # default
  max_handshakes: 0 # default
  kernel: false # default
  http2: false # default
hsts: off # default
proxy_protocol: [] # default
trusted_proxies: [] # default
client_header: auto # default
workers: 3 # FSERVE_WORKERS
pin: false # default
driver: auto # default
congestion: auto # default
tcp_defer_accept: 0s # default
tcp_fastopen: 0 # default
zero_copy: auto # default
max_connections: 0 # default
max_client_connections: 0 # default
max_buffers: 64MiB # default
compress_cache: 64MiB # default
timeouts:
  header: 10s # default
  idle: 1m # default
  body: 30s # default
  open: 30s # default
  send: 30s # default
  drain: 30s # default
  upgrade: 1h # default
access_log:
  file: off # f.yaml:4:20
  format: json # f.yaml:4:35
  escape: default # default
  sample: 100% # default
log:
  file: '' # default
  level: info # default
files:
  precompressed: false # default
  compress: off # default
  listing: false # default
  listing_page: 1000 # default
  index: [] # default
  symlinks: inside # default
  consistency: auto # default
  being_written: wait 2s # default
  growing: [] # default
  encoded_slash: decode # default
  dotfiles: false # default
  error_pages: {} # default
  cache_control: # f.yaml:7:5
  - {match: '*.html', value: 'a: b, c'} # f.yaml:7:7
  - {match: /x, value: y} # f.yaml:8:7
  attachment: [] # default
  download_param: '' # default
  types: {} # default
  default_type: '' # default
  headers: [] # default
  etag: version # default
  max_ranges: 64 # default
  server_field: '' # default
allow: [] # default
deny: [] # default
satisfy: all # default
password_file: '' # default
realm: '' # default
require: [] # default
secure_link: '' # default
secure_link_md5: '' # default
referers: [] # default
allow_agents: [] # default
deny_agents: [] # default
locations: {} # default
hosts: {} # default
releases: {} # default
identity:
  links:
    keys: {} # default
    param: fs # default
    cookie: '' # default
    max_lifetime: 0s # default
  api_keys: '' # default
  jwt: {} # default
  tiers: {} # default
  tier: '' # default
admission:
  client:
    requests: '' # default
    downloads: 0 # default
  downloads: 0 # default
  paths: {} # default
  fields: off # default
  breaker:
    loop_lag: 0s # default
    descriptors: 100% # default
    memory: 100% # default
    profiles: [] # default
  queue:
    length: 16 # default
    wait: 15s # default
limits:
  global: unlimited # default
  client: 1MiB/s # f.yaml:10:11
  connection: {rate: 1MiB/s, burst: 2MiB} # f.yaml:11:15
  burst: 0B # default
  paths: # f.yaml:13:5
    /a/: {rate: 10MB/s, weight: 4}
adapt:
  min: unlimited # default
  max: unlimited # default
  start: unlimited # default
  tune: {} # default
profiles: {} # default
alerts:
  webhook: '' # default
  token_file: '' # default
admin:
  listen: '' # default
  token: (hidden) # f.yaml:14:16
  token_file: '' # default
  pprof: false # default
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// random is a value with which reading and writing can be compared.
type random struct{ *rand.Rand }

func (r random) text() string {
	const letters = "aB3 /.:#'\"-*%=,{}[]&!|>?@`~\\é世\t"
	runes := []rune(letters)
	b := []rune{'x'}
	for range r.IntN(8) {
		b = append(b, runes[r.IntN(len(runes))])
	}
	return string(b)
}

func (r random) fill(v reflect.Value) {
	if names, ok := choices[v.Type()]; ok {
		v.SetUint(uint64(r.IntN(len(names))))
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		*p = time.Duration(r.Int64N(int64(100 * time.Hour)))
		return
	case *shape.Rate:
		*p = shape.Rate(r.Int64N(1e12) - 1)
		return
	case *Size:
		*p = Size(r.Int64N(1 << 40))
		return
	case *BeingWritten:
		*p = []BeingWritten{-1, 0, BeingWritten(defaultWriteWait), BeingWritten(5e8)}[r.IntN(4)]
		return
	case *Quota:
		*p = Quota([]string{"", "20GiB/day", "500GiB/month then cut", "1GiB/day then 200KiB/s"}[r.IntN(4)])
		return
	case *Factor:
		*p = []Factor{-1, 0.7, 1.5}[r.IntN(3)]
		return
	case *ReleaseSubject:
		*p = []ReleaseSubject{"user", "cookie id"}[r.IntN(2)]
		return
	case *RequestRate:
		_ = p.Set([]string{"unlimited", "5/s", "600/min burst 1000"}[r.IntN(3)])
		return
	case *Cipher:
		_ = p.Set("ECDHE-RSA-AES128-GCM-SHA256")
		return
	case *LogFormat:
		*p = []LogFormat{"combined", "json", `$host "$request" $status`}[r.IntN(3)]
		return
	case *Percent:
		*p = []Percent{-1, 0.015, 1}[r.IntN(3)]
		return
	case *HSTS:
		_ = p.Set([]string{"off", "0s", "1y", "90d subdomains", "2y subdomains preload"}[r.IntN(5)])
		return
	case *FileMode:
		*p = FileMode(1 + r.IntN(0o777))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.text())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		if v.Type() == fieldAt("log.level").typ {
			_ = setText(v, levels[r.IntN(len(levels))])
			return
		}
		v.SetInt(r.Int64N(2000) - 1000)
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i))
		}
	case reflect.Pointer:
		if v.SetZero(); r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fill(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			r.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		most := 3
		if isSection(v.Type().Elem()) { // they nest
			most = 2
		}
		for range r.IntN(most) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			r.fill(k)
			r.fill(e)
			v.SetMapIndex(k, e)
		}
	default:
		panic(fmt.Sprint("no random ", v.Type()))
	}
}

// What is written is read as the same, whatever it is.
func TestRenderRoundTrip(t *testing.T) {
	seed := testenv.Seed(t)
	r := random{rand.New(rand.NewPCG(seed, 0))}
	for range 300 {
		c := Default()
		for i := range fields {
			if fields[i].key != "" {
				r.fill(fields[i].in(c))
			}
		}
		c.Files, c.Access = complete(c.Files), complete(c.Access)
		sameWhenRead(t, c)
	}
}

// sameWhenRead writes c and reads it again.
func sameWhenRead(t *testing.T, c *Config) {
	t.Helper()
	out, err := Rendering{Secrets: true, Origins: Origins{}}.Render(c)
	if err != nil {
		t.Fatal(err)
	}
	b := newBuild()
	b.readFile("f.yaml", out)
	if len(b.problems) > 0 {
		t.Fatalf("%v\n%s", b.problems, out)
	}
	for i := range fields {
		if f := &fields[i]; f.key != "" && !f.equal(f.in(c), f.in(b.cfg)) {
			t.Fatalf("%s: %#v is read as %#v\n%s", f.path, f.in(c), f.in(b.cfg), out)
		}
	}
}

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	a.Limits.Paths = map[string]Limit{"/gone/": {Rate: 1 << 20}, "/same/": {}}
	b.Limits.Paths = map[string]Limit{"/new/": {Rate: 2 << 20, Weight: 3}, "/same/": {}}
	a.Listen, b.Listen = []string{"a:1", "a:2"}, []string{"a:1"}
	a.Admin.Token, b.Admin.Token = "hush", "hush hush"
	a.Files.Index, b.Files.Index = nil, []string{}
	b.Timeouts.Drain = time.Minute
	a.AccessLog.File, b.AccessLog.File = "/log", "/log2"
	b.Files.ErrorPages = map[int]ErrorPage{404: {Page: "/404.html"}}
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, fmt.Sprintf("%v (%t)", c, c.Restart))
	}
	want := []string{
		"listen: a:1, a:2 -> a:1 (true)",
		"timeouts.drain: 30s -> 1m (false)",
		"access_log.file: /log -> /log2 (false)",
		"files.error_pages[404]: (none) -> /404.html (false)",
		"limits.paths[/gone/]: 1MiB/s -> (none) (false)",
		"limits.paths[/new/]: (none) -> 2MiB/s,weight=3 (false)",
		"admin.token: (hidden) -> (hidden) (true)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, path := range []string{LogOff, LogStdout} {
		a, b := Default(), Default()
		a.AccessLog.File, b.AccessLog.File = "/log", path
		if d := Diff(a, b); len(d) != 1 || d[0].Restart {
			t.Errorf("/log to %s: %v", path, d)
		}
	}
	// What takes effect at once is what Diff says.
	live := withLive(a, b)
	for _, c := range Diff(live, b) {
		if !c.Restart {
			t.Errorf("left behind: %v", c)
		}
	}
	for _, c := range Diff(a, live) {
		if c.Restart {
			t.Errorf("taken over: %v", c)
		}
	}
}
