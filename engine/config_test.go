package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
)

// What of a Config has no effect, or makes no sense, is an error that names the field.
func TestConfigIsRefused(t *testing.T) {
	session := func(*loop.Loop) loop.Session { t.Error("a loop has begun"); return nil }
	for field, cfg := range map[string]engine.Config{
		// There are no loops.
		"Listeners": {Listeners: []string{"127.0.0.1:0"}}, "UnixMode": {UnixMode: 0o600}, "Inherit": {Inherit: engine.Sockets{"a": {}}},
		"Paused": {Paused: true}, "Loops": {Loops: 1}, "Pin": {Pin: true}, "Driver": {Driver: engine.DriverUring},
		"HeaderTimeout": {HeaderTimeout: time.Second}, "IdleTimeout": {IdleTimeout: time.Second}, "SendTimeout": {SendTimeout: time.Second},
		"LingerTimeout": {LingerTimeout: time.Second}, "Congestion": {Congestion: "cubic"}, "DeferAccept": {DeferAccept: time.Second},
		"FastOpen": {FastOpen: 1}, "TurnBudget": {TurnBudget: 1}, "Adapt": {Limits: &shape.Config{}, Adapt: &measure.Config{}},
		"Sample": {Sample: true}, "MaxConns": {MaxConns: 1}, "MaxClientConns": {MaxClientConns: 1},
		"CountClient": {CountClient: func(*loop.Conn) bool { return true }}, "Refusal": {Refusal: []byte("no")}, "MaxBuffered": {MaxBuffered: 1},
		"OnShortage": {OnShortage: func(loop.Shortage) {}}, "MaxFiles": {MaxFiles: 1}, "MaxBody": {MaxBody: 1},
		"BodyHeadroom": {BodyHeadroom: 1}, "MaxBodyBytes": {MaxBodyBytes: 1},
		// With and without.
		"OnAdapt": {OnAdapt: func(measure.Event) {}}, "Limits.Loops": {Limits: &shape.Config{Loops: 2}},
		"Adapt needs": {NewSession: session, Adapt: &measure.Config{}},
		// Out of range.
		"HeaderTimeout must": {NewSession: session, HeaderTimeout: -1}, "IdleTimeout must": {NewSession: session, IdleTimeout: -1},
		"SendTimeout must": {NewSession: session, SendTimeout: -1}, "LingerTimeout must": {NewSession: session, LingerTimeout: -1},
		"DeferAccept must": {NewSession: session, DeferAccept: -1}, "FastOpen must": {NewSession: session, FastOpen: -1},
		"TurnBudget must": {NewSession: session, TurnBudget: -1}, "MaxClientConns must": {NewSession: session, MaxClientConns: -1},
		"MaxBuffered must": {NewSession: session, MaxBuffered: -1}, "MaxFiles must": {NewSession: session, MaxFiles: -1},
		"MaxBody must": {NewSession: session, MaxBody: -1}, "BodyHeadroom must": {NewSession: session, BodyHeadroom: -1},
		"MaxBodyBytes must": {NewSession: session, MaxBodyBytes: -1}, "Loops must": {NewSession: session, Loops: 2000},
		"MaxConns must": {NewSession: session, MaxConns: -1},
	} {
		e, err := engine.New(cfg)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "Config."+field+" ") && !strings.Contains(err.Error(), "Config."+field+" and") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
