package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// read returns what a file says, and what is wrong with it.
func read(content string) (*Config, string) {
	b := newBuild()
	b.readFile("f.yaml", []byte(content))
	b.validate()
	if err := b.problems.orNil(); err != nil {
		return b.cfg, err.Error()
	}
	return b.cfg, ""
}

// Each fault of a file is reported with its place, all of them at once.
func TestFaults(t *testing.T) {
	const root = "root: /r\n" // line 1
	for _, test := range []struct{ name, file, want string }{
		{"nothing", "", `--root is required: the directory to serve (root in the file)`},
		{"comments", "# root: /r\n", `--root is required: the directory to serve (root in the file)`},
		{"unknown key", root + "lisen: x\n", `f.yaml:2:1: unknown key "lisen"; did you mean listen?`},
		{"unknown key of a section", root + "limits:\n  globl: 1MiB/s\n", `f.yaml:3:3: unknown key "limits.globl"; did you mean limits.global?`},
		{"key of another section", root + "send_timeout: 3s\n", `f.yaml:2:1: unknown key "send_timeout"; did you mean timeouts.send?`},
		{"key as the flag", root + "error-page: {}\n", `f.yaml:2:1: unknown key "error-page"; did you mean files.error_pages?`},
		{"like nothing", root + "mayonnaise: 3\n", `f.yaml:2:1: unknown key "mayonnaise"`},
		{"not of the file", root + "config_fallback: true\n", `f.yaml:2:1: unknown key "config_fallback"`},
		{"release weight", root + "releases: {w: {stable: {root: /1}, canary: {root: /2}, weight: 101%}}\n", `f.yaml:2:64: releases[w].weight: "101%" is not a part like 1%, from 0% to 100%`},
		{"release without stable", root + "releases: {w: {canary: {root: /2}}}\n", `f.yaml:2:12: releases[w].stable: the stable version is missing: {root: DIR}`},
		{"release names", root + "releases: {w: {stable: {name: a, root: /1}, canary: {name: a, root: /2}}}\n", `f.yaml:2:60: releases[w].canary.name: "a" is the name of the stable version already`},
		{"release roots", root + "releases: {w: {stable: {root: /1}, canary: {root: /1}}}\n", `f.yaml:2:51: releases[w].canary.root: /1 is the root of the stable version already`},
		{"release steps", root + "releases: {w: {stable: {root: /1}, canary: {root: /2}, steps: [{weight: 5%}, {weight: 1%}]}}\n", `f.yaml:2:87: releases[w].steps[1].weight: 1% is less than the 5% before: steps do not fall`},
		{"release window", root + "releases: {w: {stable: {root: /1}, rollback: {window: 1ms}}}\n", `f.yaml:2:55: releases[w].rollback.window: 1ms: a window is from 1s to 5m0s`},
		{"release least", root + "releases: {w: {stable: {root: /1}, rollback: {responses: -1}}}\n", `f.yaml:2:58: releases[w].rollback.responses: -1: must not be negative`},
		{"release subject", root + "releases: {w: {stable: {root: /1}, subject: [who]}}\n", `f.yaml:2:46: releases[w].subject[0]: "who" is none of user, client, header NAME, cookie NAME`},
		{"release unknown", "releases: {web: {stable: {root: /1}}}\nrelease: wbe\n", `f.yaml:2:10: release: there is no release "wbe"; did you mean web?`},
		{"release and root", root + "releases: {w: {stable: {root: /1}}}\nrelease: w\n", `f.yaml:3:10: release: there is a root too: which of them is meant?`},
		{"key twice", root + "pin: true\nroot: /s\n", `f.yaml:3:1: duplicate key "root": it is on line 1 already`},
		{"key twice in a section", root + "log: {level: info, level: warn}\n", `f.yaml:2:20: log: duplicate key "level": it is on line 2 already`},
		{"class twice", root + "limits:\n  paths:\n    /a/: 1MiB/s\n    /a/: 2MiB/s\n",
			`f.yaml:5:5: limits.paths: duplicate key "/a/": it is on line 4 already`},
		{"status twice", root + "files: {error_pages: {404: /a, 0404: /b}}\n",
			`f.yaml:2:32: files.error_pages: duplicate key "0404": it is at f.yaml:2:23 already`},
		{"not a mapping", "- root\n", `f.yaml:1:1: a mapping of keys to values is needed, not a list`},
		{"section that is a value", root + "limits: 3\n", `f.yaml:2:9: limits: a mapping of keys to values is needed, not the single value "3"`},
		{"no value", "root:\n", `f.yaml:1:6: root: no value: leave the key out for the default`},
		{"list for a value", "root: [/a, /b]\n", `f.yaml:1:7: root: a single value is needed, not a list`},
		{"mapping for a value", "root: {a: b}\n", `f.yaml:1:7: root: a single value is needed, not a mapping`},
		{"element without value", root + "listen: [~]\n", `f.yaml:2:10: listen[0]: no value`},
		{"compression of what is compressed", root + "compress:\n  types: [text/*, image/png]\n", `f.yaml:3:3: files.compress: compress: type "image/png" is compressed already`},
		{"neither on nor off", root + "locations: {/x/: {compress: perhaps}}\n", `f.yaml:2:29: locations[/x/].compress: neither on nor off: "perhaps" is not KEY=VALUE`},
		{"merge", root + "tls:\n  <<: {cret: a}\n", `f.yaml:3:8: unknown key "tls.cret"; did you mean tls.cert?`},
		{"merge of a list", root + "tls:\n  <<: [a]\n", `f.yaml:3:8: tls: << takes a mapping or a list of them, not the single value "a"`},
		{"key in two places", root + "listing: true\nfiles: {listing: false}\n", `f.yaml:3:18: files.listing: it is given twice: at f.yaml:2:10 already`},
		{"key in two places of a host", root + "hosts: {a.example: {files: {index: a}, index: b}}\n",
			`f.yaml:2:40: hosts[a.example].index: it is given twice: at f.yaml:2:36 already`},
		{"not files", root + "hosts: {a.example: {files: {root: /r}}}\n", `f.yaml:2:29: hosts[a.example].root: unknown key "root"`},
		{"key that is a list", root + "[a]: b\n", `f.yaml:2:1: a key must be a plain name`},
		{"tag", "root: !!binary L3I=\n", `f.yaml:1:7: root: the tag !!binary has no meaning here`},
		{"own tag", "root: !env ROOT\n", `f.yaml:1:7: root: the tag !env has no meaning here`},
		{"word of nginx", root + "autoindex: \"on\"\nlocations: {/x/: {try_files: a, proxy_pass: b}}\n", `f.yaml:2:1: unknown key "autoindex"; here it is listing` + "\n" +
			`f.yaml:3:19: locations[/x/].try_files: unknown key "try_files"; here it is try` + "\n" +
			`f.yaml:3:33: locations[/x/].proxy_pass: unknown key "proxy_pass"; fserve passes nothing on: it serves files`},
		{"configuration of nginx", "user www;\nhttp {\n  server {\n    listen 80;\n  }\n}\n", `f.yaml:2:1: this is a configuration of nginx: fserve import nginx f.yaml makes one of fserve of it`},
		{"one of nginx that is a text to YAML", "# one\nserver {\n  listen 80;\n}\n", `f.yaml:2:1: this is a configuration of nginx: fserve import nginx f.yaml makes one of fserve of it`},
		{"log that is off", root + "access_log: off\nhosts: {h.example: {access_log: /l}}\n",
			`f.yaml:2:13: access_log: a mapping of keys to values is needed, not the single value "off"; write {file: off}` + "\n" +
				`f.yaml:3:33: hosts[h.example].access_log: a mapping of keys to values is needed, not the single value "/l"; write {file: /l}`},
		{"fields as a mapping", root + "headers: {X-A: b, X-B: c}\ncache_control: [{/x/: no-cache}]\n", `f.yaml:2:11: files.headers[0]: unknown key "X-A"; write ["X-A: b"]` + "\n" +
			`f.yaml:2:19: files.headers[0]: unknown key "X-B"; write ["X-B: c"]` + "\n" +
			`f.yaml:3:18: files.cache_control[0]: unknown key "/x/"; write ["/x/=no-cache"]`},
		{"all files", root + "attachment: true\n", `f.yaml:2:13: files.attachment[0]: disposition rule "true": not a path or a pattern with one *; all of them are /`},
		{"backslash", root + "locations: {\"~ \\.x$\": {root: /x}}\n", `f.yaml:2:16: not YAML: while scanning a quoted scalar, found unknown escape character; in single quotes a backslash is itself`},
		{"second document", root + "---\nroot: /s\n", `f.yaml:2:1: a second document: a file has one`},
		{"syntax", root + "listen: [a\n", `f.yaml:3:1: not YAML: while parsing a flow sequence, did not find expected ',' or ']'`},
		{"tab", "\troot: /r\n", `f.yaml:1:1: not YAML: a tab: lines are indented with spaces`},
		{"tab inside", root + "files:\n  # \there\n \tlisting: true\n", `f.yaml:4:2: not YAML: a tab: lines are indented with spaces`},
		{"not UTF-8", root + "listen: \"\xff\"\n", `f.yaml:2:10: not YAML: invalid leading UTF-8 octet (value: 255)`},
		{"unknown anchor", "root: *r\n", `f.yaml:1:7: not YAML: unknown anchor 'r' referenced`},

		{"truth", root + "pin: yes\n", `f.yaml:2:6: pin: "yes" is neither true nor false; write true`},
		{"whole number", root + "workers: 1.5\n", `f.yaml:2:10: workers: "1.5" is not a whole number`},
		{"workers", root + "workers: 2000\n", `f.yaml:2:10: workers: 2000: --workers must be from 1 to 1024, or 0 for one for each core`},
		{"choice", root + "driver: kqueue\n", `f.yaml:2:9: driver: "kqueue" is not one of auto, uring, fallback`},
		{"level", root + "log: {level: loud}\n", `f.yaml:2:14: log.level: "loud" is not one of debug, info, warn, error`},
		{"mode", root + "unix_mode: 999\n", `f.yaml:2:12: unix_mode: "999" is not a mode like 0660`},
		{"duration without unit", root + "timeouts: {idle: 60}\n", `f.yaml:2:18: timeouts.idle: "60" is not a duration with its unit, like 10s or 1m30s`},
		{"no duration", root + "timeouts: {idle: 0s}\n", `f.yaml:2:18: timeouts.idle: 0s: timeouts must be positive durations like 10s`},
		{"no entries", root + "files: {listing_page: 0}\n", `f.yaml:2:23: files.listing_page: 0: a page of a listing has at least one entry`},
		{"negative duration", root + "timeouts: {drain: -1s}\n", `f.yaml:2:19: timeouts.drain: -1s: --drain-timeout must not be negative`},
		{"addresses", root + "listen: [\"unix:\", 8080]\ntls: {listen: \"unix:/a\", cert: c, key: k}\n",
			`f.yaml:2:10: listen[0]: "unix:": an address is HOST:PORT or unix:/PATH` + "\n" +
				`f.yaml:2:19: listen[1]: "8080": an address is HOST:PORT or unix:/PATH; write :8080` + "\n" +
				`f.yaml:3:15: tls.listen[0]: "unix:/a": an address is HOST:PORT`},
		{"TLS without a key", root + "tls: {listen: \":1\", cert: c}\n",
			`f.yaml:2:27: tls.cert: --tls-cert and --tls-key belong together (cert and key of tls in the file)`},
		{"no certificate", root + "tls: {listen: \":1\", pairs: {cert: a, key: b}}\nhosts: {a: {names: b}}\n",
			`f.yaml:2:15: tls.listen: --tls-listen needs a certificate: --tls-cert and --tls-key (cert and key of tls in the file), or tls of a host`},
		{"pairs alone", root + "tls: {listen: \":1\", pairs: {cert: a, key: b}}\nhosts: {a: {tls: {cert: c, key: d}}}\n",
			`f.yaml:2:28: tls.pairs: they stand beside cert and key, which are missing`},
		{"no listener", root + "hosts: {a: {tls: {cert: c, key: d}}}\n",
			`f.yaml:2:18: hosts[a].tls: there is no --tls-listen (listen of tls in the file) at which it could be used`},
		{"half a pair", root + "tls: {listen: \":1\"}\nhosts:\n  a: {tls: {cert: c}}\n  b: {tls: [{cert: c, key: d}, {crt: e, key: f}]}\n",
			`f.yaml:4:12: hosts[a].tls[0]: key is missing` + "\n" +
				`f.yaml:5:32: hosts[b].tls[1]: cert is missing` + "\n" +
				`f.yaml:5:33: hosts[b].tls[1]: unknown key "crt"; did you mean cert?`},
		{"versions", root + "tls: {min_version: 1.1, unknown_name: drop}\n",
			`f.yaml:2:20: tls.min_version: "1.1" is not one of 1.2, 1.3` + "\n" +
				`f.yaml:2:39: tls.unknown_name: "drop" is not one of default, refuse`},
		{"ciphers", root + "tls:\n  ciphers:\n  - TLS_AES_128_GCM_SHA256\n  - DES-CBC3-SHA\n  - ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA25\n",
			`f.yaml:4:5: tls.ciphers[0]: TLS_AES_128_GCM_SHA256 is a suite of TLS 1.3, which are not chosen: all of them are good` + "\n" +
				`f.yaml:5:5: tls.ciphers[1]: DES-CBC3-SHA is not secure` + "\n" +
				`f.yaml:6:5: tls.ciphers[2]: "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256": suites are a list, [A, B]` + "\n" +
				`f.yaml:7:5: tls.ciphers[3]: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA25" is not the name of a cipher suite; did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?`},
		{"no address", root + "listen: []\n", `f.yaml:2:9: listen: --listen needs an address`},
		{"network", root + "trusted_proxies: [10.0.0.0/8, ten]\n", `f.yaml:2:31: trusted_proxies[1]: "ten" is not a network, an address or unix`},
		{"PROXY", root + "proxy_protocol: [a:1]\n", `f.yaml:2:18: proxy_protocol[0]: "a:1": no --listen or --tls-listen has this address`},

		{"rule without value", root + "files:\n  cache_control:\n    - {match: /a/}\n", `f.yaml:4:7: files.cache_control[0]: value is missing`},
		{"rule with more", root + "files:\n  cache_control: {match: /a/, value: b, valeu: c}\n",
			`f.yaml:3:41: files.cache_control[0]: unknown key "valeu"; did you mean value?`},
		{"pattern", root + "files: {attachment: [\"*.iso\", \"a*b*\"]}\n", `f.yaml:2:31: files.attachment[1]: disposition rule "a*b*": not a path or a pattern with one *`},
		{"header", root + "files:\n  headers:\n    - \"/=X-A: 1\"\n    - {match: /, name: Date, value: now}\n",
			`f.yaml:5:7: files.headers[1]: header rule "/": Date cannot be set: the server alone can be right about it`},
		{"realm", root + "realm: r\nhosts:\n  a: {realm: b, password_file: \"off\"}\n  b: {realm: c, locations: {/x/: {password_file: p}, /y/: {realm: d}}}\n",
			`f.yaml:4:14: hosts[a].realm: no password is asked for: password_file is missing` + "\n" +
				`f.yaml:5:67: hosts[b].locations[/y/].realm: no password is asked for: password_file is missing`},
		{"realm of nobody", root + "realm: r\nlocations: {/x/: {require: link}}\n", `f.yaml:2:8: realm: no password is asked for: password_file is missing`},
		{"header form", root + "files: {headers: [X-A]}\n", `f.yaml:2:19: files.headers[0]: "X-A" is neither NAME: VALUE nor PATTERN=NAME: VALUE`},
		{"status", root + "files: {error_pages: {x: /a, 200: /b, 404: c}}\n",
			`f.yaml:2:23: files.error_pages[x]: "x" is not a whole number` + "\n" +
				`f.yaml:2:30: files.error_pages[200]: 200 is not the status of a failure` + "\n" +
				`f.yaml:2:39: files.error_pages[404]: "c" is not an absolute path of a file below the root`},
		{"type", root + "files: {types: {iso: disc}}\n", `f.yaml:2:17: files.types[iso]: content type of "iso": "disc": not type/subtype`},

		{"rate without unit", root + "limits: {client: 10}\n",
			`f.yaml:2:18: limits.client: rate "10" has no unit (nginx would mean bytes, tc bits): write 10B/s, 10KiB/s or 10Kbit/s`},
		{"burst without unit", root + "limits: {burst: 10}\n", `f.yaml:2:17: limits.burst: size "10" has no unit: write 10B or 10KiB`},
		{"key of a limit", root + "limits: {paths: {/a/: {rate: 1MiB/s, weigth: 2}}}\n",
			`f.yaml:2:38: limits.paths[/a/]: unknown key "weigth"; did you mean weight?`},
		{"key of a limit as text", root + "limits: {paths: {/a/: \"1MiB/s,wait=2\"}}\n",
			`f.yaml:2:23: limits.paths[/a/]: wait: not one of burst, weight, guarantee, priority, client, connection, after, adapt_min, adapt_max`},
		{"prefix", root + "limits: {paths: {a/: 1MiB/s}}\n", `f.yaml:2:18: limits.paths[a/]: "a/": a prefix begins with /`},
		{"prefix that matches nothing", root + "limits: {paths: {/a//b/: 1MiB/s, /a/../b: 1MiB/s, /..a/: 1MiB/s}}\n",
			`f.yaml:2:18: limits.paths[/a//b/]: "/a//b/": it matches nothing: requests are compared decoded, without . and .. and empty segments` + "\n" +
				`f.yaml:2:34: limits.paths[/a/../b]: "/a/../b": it matches nothing: requests are compared decoded, without . and .. and empty segments`},
		{"prefix that is encoded", root + "limits: {paths: {/a%20b/: 1MiB/s, /100%/: 1MiB/s, \"/\\u0001\": 1MiB/s}}\n",
			`f.yaml:2:18: limits.paths[/a%20b/]: "/a%20b/": it matches nothing: requests are compared decoded, and %20 is one byte of them` + "\n" +
				"f.yaml:2:51: limits.paths[/\x01]: \"/\\x01\": a prefix is UTF-8 without control characters"},
		{"format", root + "access_log: {format: '$status $foo'}\n", `f.yaml:2:22: access_log.format: at 9: there is no variable $foo`},
		{"sample", root + "hosts: {h.example: {access_log: {sample: 1, file: /l}}}\n", `f.yaml:2:42: hosts[h.example].access_log.sample: "1" is not a part like 1%, from 0% to 100%`},
		{"after without a limit", root + "limits: {paths: {/a/: {rate: 1MiB/s, after: 2MiB}}}\n",
			`f.yaml:2:45: limits.paths[/a/].after: there is neither a client nor a connection limit that could begin`},
		{"weight", root + "limits:\n  paths:\n    /a/:\n      weight: -1\n", `f.yaml:5:15: limits.paths[/a/].weight: -1 is not from 0 to 1000`},
		{"guarantee", root + "limits:\n  paths:\n    /a/: {rate: 1MiB/s, guarantee: 2MiB/s}\n",
			`f.yaml:4:36: limits.paths[/a/].guarantee: 2MiB/s is more than the rate, 1MiB/s`},
		{"weight of a client", root + "limits: {client: {rate: 1MiB/s, weight: 2}}\n",
			`f.yaml:2:18: limits.client: a level has rate and burst; the other keys are for classes of paths`},

		{"open admin", root + "admin: {listen: \"0.0.0.0:9090\"}\n",
			`f.yaml:2:17: admin.listen: "0.0.0.0:9090" can be reached from elsewhere: it needs a token (--admin-token-file, token_file in the file), or an address of loopback or unix:/PATH`},
		{"two tokens", root + "admin: {listen: \":1\", token: a, token_file: b}\n",
			`f.yaml:2:45: admin.token_file: there is a token too: which of them is meant?`},
		{"token", root + "admin: {listen: \":1\", token: \"a b\"}\n",
			`f.yaml:2:30: admin.token: a token is of printable ASCII characters without spaces`},
		{"all at once, in order", "pin: 1\nworkers: 3000\nzzzzzzzzzz: 1\nroot: [a]\n",
			`f.yaml:1:6: pin: "1" is neither true nor false` + "\n" +
				`f.yaml:2:10: workers: 3000: --workers must be from 1 to 1024, or 0 for one for each core` + "\n" +
				`f.yaml:3:1: unknown key "zzzzzzzzzz"` + "\n" +
				`f.yaml:4:7: root: a single value is needed, not a list`},
	} {
		if _, got := read(test.file); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	if _, got := read("# " + strings.Repeat("x", maxFile)); got != "f.yaml: more than 1048576 bytes" {
		t.Errorf("a large file: %s", got)
	}
}

// The ways to write one thing.
func TestForms(t *testing.T) {
	const root = "root: /r\n"
	for _, test := range []struct{ name, a, b string }{
		{"one element", "listen: a:1\n", "listen: [\"a:1\"]\n"},
		{"rule", "files: {cache_control: [\"/a/=b\"]}\n", "files:\n  cache_control:\n  - match: /a/\n    value: b\n"},
		{"header", "files: {headers: \"/a/=X: y z\"}\n", "files: {headers: [{match: /a/, name: X, value: y z}]}\n"},
		{"limit", "limits: {paths: {/a/: \"1MiB/s,weight=4,burst=2KiB,guarantee=8Kbit/s,priority=-1\"}}\n",
			"limits: {paths: {/a/: {rate: 1MiB/s, weight: 4, burst: 2KiB, guarantee: 1KB/s, priority: -1}}}\n"},
		{"rate", "limits: {global: {rate: 1KiB/s}}\n", "limits: {global: 1024B/s}\n"},
		{"quotes", "workers: \"3\"\n", "workers: 3\n"},
		{"octal", "unix_mode: \"0600\"\n", "unix_mode: 600\n"},
		{"empty section", "limits:\n", "pin: false\n"},
		{"alias", "tls: {cert: &f f, key: *f, listen: \"a:1\"}\n", "tls: {cert: f, key: f, listen: \"a:1\"}\n"},
		{"alias of a mapping", "limits: {paths: {/a/: &l {rate: 1MiB/s}, /b/: *l}}\n", "limits: {paths: {/a/: 1MiB/s, /b/: 1MiB/s}}\n"},
		{"options without files", "listing: true\nindex: [a, b]\n", "files: {listing: true, index: [a, b]}\n"},
		{"options of a host in files", "hosts: {a.example: {files: {listing: true}, class: /a/}}\nlimits: {paths: {/a/: 1MB/s}}\n",
			"hosts: {a.example: {listing: true, class: /a/}}\nlimits: {paths: {/a/: 1MB/s}}\n"},
		{"merge", "x-a: &a {listing: true, symlinks: deny, x-b: [1]}\nfiles: {<<: *a, symlinks: inside}\n", "files: {listing: true, symlinks: inside}\n"},
		{"merges", "x-a: &a {header: 1s, send: 2s}\nx-b: &b {<<: *a, header: 3s, idle: 4s}\ntimeouts: {send: 5s, <<: [*b, *a]}\n",
			"timeouts: {header: 3s, idle: 4s, send: 5s}\n"},
		{"merge into a table", "x-a: &a {a: a/a, b: a/b}\ntypes: {<<: *a, b: c/b}\n", "types: {a: a/a, b: c/b}\n"},
		{"rules for all paths", "cache_control: public, max-age=60\nheaders: [\"X-A: b=c\", \"Link: </a*>; rel=b\"]\n",
			"cache_control: {match: /, value: \"public, max-age=60\"}\nheaders: [\"/=X-A: b=c\", {match: /, name: Link, value: \"</a*>; rel=b\"}]\n"},
		{"own keys of a host", "hosts: {a.example: {x-a: {b: c}, locations: {/a/: {x-a: 1}}}}\n", "hosts: {a.example: {locations: {/a/: {}}}}\n"},
		{"no document end", "files: {server_field: 1.10}\n", "files: {server_field: '1.10'}\n...\n"},
	} {
		a, faultA := read(root + test.a)
		b, faultB := read(root + test.b)
		if faultA != "" || faultB != "" {
			t.Errorf("%s: %s %s", test.name, faultA, faultB)
		}
		if d := Diff(a, b); len(d) != 0 {
			t.Errorf("%s: %v", test.name, d)
		}
	}
}

// What is no configuration at all does not fill the screen.
func TestManyFaults(t *testing.T) {
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, got := read(b.String())
	if lines := strings.Split(got, "\n"); len(lines) != maxProblems+1 || lines[99] != `f.yaml:100:1: unknown key "key99"` ||
		lines[100] != "f.yaml:100:1: too many problems: the rest is not shown" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-2:])
	}
	if _, got := read("root: /r\nworkers: " + strings.Repeat("é", 10_000)); len(got) > 2*maxText || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}

// Merges of merges cost no more than the file is long.
func TestMergesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("root: /r\nx-0: &m0 {listing: true}\n")
	for i := 1; i <= 200; i++ {
		fmt.Fprintf(&b, "x-%d: &m%d {<<: [*m%d, *m%d]}\n", i, i, i-1, i-1)
	}
	b.WriteString("files: {<<: *m200}\n")
	if c, fault := read(b.String()); fault != "" || !*c.Files.Listing {
		t.Errorf("%s, listing %t", fault, *c.Files.Listing)
	}
}

// Relative paths of files begin where the configuration file is; those of flags and variables do not.
func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fserve.yaml", `
root: www
access_log: {file: logs/access}
pid_file: /run/p
tls: {listen: ":1", cert: c.pem, key: ../k.pem}
admin: {token_file: token}
hosts:
  a.example: {root: a, locations: {/b/: {alias: b}, /c/: {root: ../c}}}
`, "conf.d/1.yaml", "hosts: {b.example: {root: b}}\n")
	t.Chdir(filepath.Dir(dir))
	l := load(t, sources(t, []string{"FSERVE_ALERT_TOKEN_FILE=alert", "FSERVE_ALERT_WEBHOOK=http://a/"}, "--config", filepath.Base(dir)+"/fserve.yaml", "--tls-key=k.pem"))
	a := l.Hosts["a.example"]
	for what, got := range map[string][2]string{
		"root": {l.Root, dir + "/www"}, "log": {l.AccessLog.File, dir + "/logs/access"}, "pid": {l.PIDFile, "/run/p"},
		"cert": {l.TLS.Cert, dir + "/c.pem"}, "key": {l.TLS.Key, "k.pem"}, "token": {l.Admin.TokenFile, dir + "/token"},
		"alert": {l.Alerts.TokenFile, "alert"}, "host": {a.Root, dir + "/a"}, "alias": {a.Locations["/b/"].Alias, dir + "/b"},
		"location": {a.Locations["/c/"].Root, filepath.Dir(dir) + "/c"}, "drop-in": {l.Hosts["b.example"].Root, dir + "/b"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want %s", what, got[0], got[1])
		}
	}
	write(t, dir, "fserve.yaml", "root: /r\naccess_log: {file: \"off\"}\n")
	if l := load(t, sources(t, nil, "--config", dir+"/fserve.yaml")); l.AccessLog.File != LogOff {
		t.Errorf("off is %q", l.AccessLog.File)
	}
}

// Every value that names a file says so.
func TestFileTags(t *testing.T) {
	seen := 0
	for _, typ := range []reflect.Type{reflect.TypeFor[Host](), reflect.TypeFor[Location]()} {
		for sf := range structFields(typ) {
			if key := sf.Tag.Get("key"); (key == "root" || key == "alias" || key == "password_file") == (sf.Tag.Get("file") == "") {
				t.Errorf("%v: %s", typ, key)
			}
		}
	}
	for _, f := range fields {
		switch last := f.path[strings.LastIndex(f.path, ".")+1:]; {
		case last == "root" || last == "cert" || f.path == "tls.key" || last == "file" || strings.HasSuffix(last, "_file"):
			seen++
			if f.file == "" {
				t.Errorf("%s has no tag", f.path)
			}
		case f.path == "identity.links.keys", f.path == "identity.api_keys":
		case f.file != "" && f.key != "":
			t.Errorf("%s has the tag", f.path)
		}
	}
	if seen < 7 {
		t.Errorf("%d values", seen)
	}
}
