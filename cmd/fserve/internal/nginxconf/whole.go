package nginxconf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// levels are those of the log for operators by nginx's: what nginx calls an error of a request is a
// warning here.
var levels = map[string]string{
	"debug": "debug", "info": "info", "notice": "info", "warn": "warn", "error": "warn", "crit": "error", "alert": "error", "emerg": "error",
}

func doErrorLog(t *translator, s *scope, d *directive) {
	switch file := d.arg(0); {
	case s.match != "" || s.server != nil:
		t.remark(d, "there is one log for operators: log.file")
		return
	case strings.HasPrefix(file, "syslog:"), strings.HasPrefix(file, "memory:"):
		t.leave(s, d, "the log for operators is a file, or standard error")
		return
	case file != "stderr" && file != "/dev/stderr":
		t.set(s, d, "log.file", file)
	}
	if level := levels[d.arg(1)]; level != "" {
		t.set(s, d, "log.level", level)
	}
}

// ofClient are the keys of zones that count by client.
var ofClient = map[string]bool{"$binary_remote_addr": true, "$remote_addr": true}

// doZone notes a zone that counts by client, with its rate of requests.
func doZone(t *translator, s *scope, d *directive) {
	zone, rate := "", "0"
	for _, a := range d.args[1:] {
		if name, ok := strings.CutPrefix(a, "zone="); ok {
			zone, _, _ = strings.Cut(name, ":")
		}
		if r, ok := strings.CutPrefix(a, "rate="); ok {
			rate = strings.NewReplacer("r/s", "/s", "r/m", "/min").Replace(r)
		}
	}
	if !ofClient[d.arg(0)] {
		t.leave(s, d, "what is bounded is bounded by client: admission.client")
		return
	}
	t.zones[d.name+" "+zone] = rate
}

// doBound reads limit_req and limit_conn, which hold for the whole server here.
func doBound(t *translator, s *scope, d *directive) {
	zone, burst := d.arg(0), 0
	for _, a := range d.args {
		if name, ok := strings.CutPrefix(a, "zone="); ok {
			zone = name
		}
		if n, ok := strings.CutPrefix(a, "burst="); ok {
			burst, _ = strconv.Atoi(n)
		}
	}
	rate, known := t.zones[d.name+"_zone "+zone]
	switch {
	case !known:
		t.leave(s, d, "its zone does not count by client")
	case s.match != "" || s.prefix != "":
		t.leave(s, d, "admission is for the whole server: admission.client has requests and downloads")
	case d.name == "limit_conn":
		if n, err := strconv.Atoi(d.arg(1)); err == nil {
			t.set(s, d, "admission.client.downloads", n)
		}
	default:
		if burst > 0 {
			rate += fmt.Sprintf(" burst %d", burst+1)
		}
		t.set(s, d, "admission.client.requests", rate)
	}
}

var maxAge = regexp.MustCompile(`(?i)^max-age="?(\d+)"?$`)

// hsts returns a value of Strict-Transport-Security in the words of fserve; empty: it cannot be said.
func hsts(value string) string {
	age, more := "", ""
	for part := range strings.SplitSeq(value, ";") {
		part = strings.TrimSpace(part)
		switch m := maxAge.FindStringSubmatch(part); {
		case m != nil:
			age = m[1]
		case strings.EqualFold(part, "includeSubDomains"):
			more += " subdomains"
		case strings.EqualFold(part, "preload"):
			more += " preload"
		case part != "":
			return ""
		}
	}
	n, err := strconv.ParseInt(age, 10, 32)
	if err != nil {
		return ""
	}
	const day = int64(24 * time.Hour / time.Second)
	switch {
	case n > 0 && n%(365*day) == 0:
		age = strconv.FormatInt(n/(365*day), 10) + "y"
	case n > 0 && n%day == 0:
		age = strconv.FormatInt(n/day, 10) + "d"
	default:
		age += "s"
	}
	if strings.Contains(more, "preload") && (!strings.Contains(more, "subdomains") || n < 365*day) {
		more = strings.Replace(more, " preload", "", 1) // no list takes it
	}
	return age + more
}
