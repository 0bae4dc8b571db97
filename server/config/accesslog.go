package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/record"
)

// LogFormat is how the lines of the access log look: combined, json, or a text with variables.
type LogFormat string

func (f LogFormat) String() string { return string(f) }

// Set implements setter.
func (f *LogFormat) Set(s string) error {
	if s != "combined" && s != "json" {
		if !strings.Contains(s, "$") {
			return fmt.Errorf("%q is not combined, json or a text with variables like $remote_addr", s)
		}
		if _, err := record.ParseTemplate(s, record.EscapeDefault); err != nil {
			return err
		}
	}
	*f = LogFormat(s)
	return nil
}

// Percent is a part of the whole, from 0 to 1. The zero value says nothing; nothing of the
// whole is below it.
type Percent float64

func (p Percent) String() string {
	return strconv.FormatFloat(max(float64(p), 0)*100, 'f', -1, 64) + "%"
}

// Set reads a number with a percent sign.
func (p *Percent) Set(s string) error {
	text, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return fmt.Errorf("%q is not a part like 1%%, from 0%% to 100%%", s)
	}
	if *p = Percent(n / 100); n == 0 {
		*p = -1
	}
	return nil
}

// within returns l with what it leaves out as it is around it.
func (l AccessLog) within(around AccessLog) AccessLog {
	if l.Format == "" { // the two belong together
		l.Format, l.Escape = around.Format, around.Escape
	}
	return AccessLog{cmp.Or(l.File, around.File), l.Format, l.Escape, cmp.Or(l.Sample, around.Sample)}
}

// log says where the lines of a site go.
func (l *AccessLog) log(s *server.Site) {
	if l.File == LogOff || l.File == "" {
		s.NoAccessLog = true
		return
	}
	s.AccessLog, s.LogSample = server.LogTarget{File: l.File}, float64(l.Sample)
	switch l.Format {
	case "combined":
	case "json":
		s.AccessLog.Format = server.LogJSON
	default:
		s.AccessLog.Template, s.AccessLog.Escape = string(l.Format), l.Escape
	}
}
