package peer

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
)

// Servers of others that serve the same files, from the packages of Debian. HAProxy is not
// among them: its cache needs an origin behind it.
const (
	H2O      Kind = "h2o"
	Lighttpd Kind = "lighttpd"
	Caddy    Kind = "caddy"
	Apache   Kind = "apache2"
)

// other says how one of these is started: in the foreground, with one thread or process for all
// connections as far as it can, without a log and without bounds that end connections.
type other struct {
	config string   // template of its configuration
	args   []string // %s: the path of that
	env    []string
}

var others = map[Kind]other{
	H2O: {
		config: `listen:
  host: {{.Host}}
  port: {{.Port}}
{{if .Root}}user: root
{{end}}num-threads: 1
max-connections: {{.Conns}}
hosts:
  default:
    paths:
      /:
        file.dir: {{.Files}}
`,
		args: []string{"-c", "%s"},
	},
	Lighttpd: {
		config: `server.document-root = "{{.Files}}"
server.bind = "{{.Host}}"
server.port = {{.Port}}
server.max-connections = {{.Conns}}
server.max-keep-alive-requests = 65535
server.network-backend = "sendfile"
mimetype.assign = ( "" => "application/octet-stream" )
`,
		args: []string{"-D", "-f", "%s"},
	},
	Caddy: {
		config: `{
	admin off
	auto_https off
}
http://{{.Host}}:{{.Port}} {
	root * {{.Files}}
	file_server
}
`,
		args: []string{"run", "--adapter", "caddyfile", "--config", "%s"},
		env:  []string{"GOMAXPROCS=1"},
	},
	Apache: {
		config: `ServerRoot "{{.Dir}}"
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
Listen {{.Host}}:{{.Port}}
ServerName {{.Host}}
PidFile "{{.Dir}}/pid"
ErrorLog "{{.Dir}}/error"
DocumentRoot "{{.Files}}"
EnableSendfile On
MaxKeepAliveRequests 0
StartServers 1
ServerLimit 1
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 256
`,
		args: []string{"-D", "FOREGROUND", "-f", "%s"},
	},
}

// FindOther returns the path of such a server, empty if it is not installed.
func FindOther(kind Kind) string {
	for _, dir := range []string{"", "/usr/sbin/"} { // the latter is not in the search path of ordinary users
		if path, err := exec.LookPath(dir + string(kind)); err == nil {
			return path
		}
	}
	return ""
}

// otherCommand writes the configuration and returns how to start the server with it.
func otherCommand(spec Spec, site Site, dir, addr string) (*exec.Cmd, error) {
	o := others[spec.Kind]
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	t, err := template.New(string(spec.Kind)).Parse(o.config)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = t.Execute(&text, struct {
		Host, Port, Dir, Files string
		Conns                  int
		Root                   bool
	}{host, port, dir, site.Root, site.Conns, os.Geteuid() == 0})
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, text.Bytes(), 0o644); err != nil {
		return nil, err
	}
	var args []string
	for _, a := range o.args {
		if a == "%s" {
			a = conf
		}
		args = append(args, a)
	}
	cmd := exec.Command(spec.Binary, args...)
	cmd.Env = append(os.Environ(), append(o.env, fmt.Sprint("XDG_DATA_HOME=", dir), fmt.Sprint("XDG_CONFIG_HOME=", dir))...)
	return cmd, nil
}
