package nginxconf

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/fserve/fserve/server"
)

// accessLog is an access log of a place, in fserve's words; that without a file is off.
type accessLog struct {
	file   string
	format string // empty: combined
	escape string // empty: default
}

var escapes = map[string]server.LogEscape{"json": server.EscapeJSON, "none": server.EscapeNone}

const combinedFormat = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`

// within returns the keys of a log inside a place that has another one.
func (l accessLog) within(around any) ordered {
	outer, _ := around.(accessLog)
	out := ordered{{"file", cmp.Or(l.file, "off")}}
	switch {
	case l.file == "":
		return out
	case l.format != "":
		out = append(out, entry{"format", l.format})
	case outer.format != "": // it would be taken over
		out = append(out, entry{"format", "combined"})
	}
	if l.escape != "" {
		out = append(out, entry{"escape", l.escape})
	}
	return out
}

func doLogFormat(t *translator, s *scope, d *directive) {
	l := accessLog{}
	list := d.args[1:]
	if escape, ok := strings.CutPrefix(d.arg(1), "escape="); ok {
		if list = list[1:]; escape != "default" {
			l.escape = escape
		}
	}
	text := strings.Join(list, "")
	switch {
	case text == combinedFormat && l.escape == "":
	case !strings.Contains(text, "$"):
		t.leave(s, d, "a format has variables: lines are in combined")
	default:
		l.format = t.known(s, d, text, l.escape)
	}
	if l.format == "" {
		l.escape = ""
	}
	t.formats[d.arg(0)] = l
}

var logVariable = regexp.MustCompile(`\$(\w+|\{\w+\})`)

// known returns a format without the variables that fserve has not; what stands for a missing value is
// in their place, so that programs which read the lines find the others where they were. Empty: it
// cannot be had.
func (t *translator) known(s *scope, d *directive, text, escape string) string {
	nothing := ""
	if escape == "" {
		nothing = "-"
	}
	var lacks []string
	text = logVariable.ReplaceAllStringFunc(text, func(v string) string {
		if err := (&server.LogTarget{Template: v}).Check(); err != nil {
			lacks = append(lacks, v)
			return nothing
		}
		return v
	})
	if lacks != nil {
		t.leave(s, d, "there are no variables "+strings.Join(lacks, ", ")+": they are empty in the lines")
	}
	if err := (&server.LogTarget{Template: text, Escape: escapes[escape]}).Check(); err != nil {
		t.leave(s, d, err.Error()+": lines are in combined")
		return ""
	}
	return text
}

func doAccessLog(t *translator, s *scope, d *directive) {
	l := t.formats[cmp.Or(d.arg(1), "combined")]
	switch l.file = d.arg(0); l.file {
	case "off", "/dev/null":
		s.began["access_log"], s.settings["access_log"] = true, accessLog{}
		return
	case "/dev/stdout":
		l.file = "-"
	}
	if strings.Contains(l.file, "$") {
		t.leave(s, d, "the name of a log has no variables: lines go to the log around it, or to none")
		return
	}
	if s.began["access_log"] {
		if s.settings["access_log"] != (accessLog{}) { // off counts for all of a level
			t.leave(s, d, "a place has one access log: this is one more")
		}
		return
	}
	if server, ok := strings.CutPrefix(l.file, "syslog:"); ok {
		if l.file = t.syslog(s, d, server); l.file == "" {
			return
		}
	}
	if had, ok := t.logs[l.file]; ok && had.accessLog != l {
		t.leave(s, d, "a file has one format: that of "+had.at)
		l = had.accessLog
	}
	for _, a := range d.args[min(2, len(d.args)):] {
		switch name, _, _ := strings.Cut(a, "="); name {
		case "if":
			t.leave(s, d, "lines have no condition: all are written")
		case "gzip":
			t.remark(d, "the file is not compressed")
		}
	}
	t.logs[l.file] = log{l, d.place.String()}
	s.began["access_log"], s.settings["access_log"] = true, l
}

// log is an access log with the directive that it is of.
type log struct {
	accessLog
	at string
}

// syslog returns the file of a log that is a syslog server, by its parameters; empty: there is none.
func (t *translator) syslog(s *scope, d *directive, params string) string {
	file, tagged := "syslog:", false
	for p := range strings.SplitSeq(params, ",") {
		switch name, _, _ := strings.Cut(p, "="); name {
		case "nohostname":
			t.leave(s, d, "messages have the name of the host")
			continue
		case "tag":
			tagged = true
		}
		file += p + ","
	}
	file = strings.TrimSuffix(file, ",")
	if !tagged {
		file += ",tag=nginx" // as they are filtered by now
	}
	if err := (&server.LogTarget{File: file}).Check(); err != nil {
		t.leave(s, d, err.Error())
		return ""
	}
	t.remark(d, "messages are of RFC 5424")
	return file
}
