package main

// intro begins the page.
const intro = "# Configuration\n\n" +
	"<!-- Made by `make docs` from the comments of server/config: change those. -->\n\n" +
	"Every value has a default. A configuration file (`--config fserve.yaml`, then `conf.d/*.yaml` beside it in the\n" +
	"order of their names) overrides it, an environment variable overrides the file, and a flag overrides all.\n\n" +
	"```yaml\n" +
	"root: /srv/downloads\n" +
	"listen: [0.0.0.0:8080]\n" +
	"access_log: {file: /var/log/fserve/access.log, format: json}\n" +
	"files:\n" +
	"  cache_control:\n" +
	"    - {match: /assets/, value: \"public, max-age=31536000, immutable\"}\n" +
	"    - {match: \"*.html\", value: no-cache}\n" +
	"limits:\n" +
	"  global: 800Mbit/s\n" +
	"  client: 10MiB/s\n" +
	"  paths:\n" +
	"    /updates/: {rate: 50MiB/s, weight: 4, priority: 1}\n" +
	"```\n\n" +
	"- `fserve check --config fserve.yaml` says whether a server would start: all problems, each with file, line and column,\n" +
	"  on standard error and exit code 78, or exit code 0.\n" +
	"- `fserve config --config fserve.yaml` prints the values in effect, with a comment that says where each comes from.\n" +
	"- An unknown key, a key that comes twice, and a rate or a size without a unit are errors. `true` and `false` are the\n" +
	"  only truth values.\n" +
	"- A later file replaces the values and the lists of an earlier one. To the tables (`files.error_pages`, `files.types`,\n" +
	"  `limits.paths`, `hosts`, `locations`) it adds; an entry that is there already is an error.\n" +
	"- A flag or a variable replaces all of a list or a table. Repeatable flags add to each other; in a variable, addresses\n" +
	"  and networks take commas, other lists take one element a line.\n" +
	"- Paths of files are relative to the directory in which fserve was started, wherever they are written.\n\n" +
	"## Reload\n\n" +
	"At SIGHUP, and when the content of the files changes (symbolic links that are swapped and files that are replaced\n" +
	"included), all of it is read and checked again. If anything is wrong, nothing changes, and the log says what. What takes\n" +
	"effect at once is applied to running downloads too; what needs a restart stays as it was, and is named in the log.\n" +
	"Files that are missing or cannot be read leave everything as it is.\n\n" +
	"At each reload the directories that are served are opened anew, so a `root` that is a symbolic link may be switched and a\n" +
	"SIGHUP sent, and `admin.token_file` is read again. Such changes are not looked for otherwise.\n\n" +
	"The last configuration of files that the server has run with is kept in the state directory, readable by its owner\n" +
	"only. With `--config-fallback` a server that finds its files broken starts from it, and says so.\n"

// hostIntro begins the table of the keys of a host.
const hostIntro = "\n## A host\n\n" +
	"Requests find their host by the authority of the target if that is a whole URL, otherwise by the field `Host`: in any case,\n" +
	"without port and the dot at the end. Names that are not ASCII are written as `xn--…`, IPv6 addresses in brackets.\n\n" +
	"```yaml\n" +
	"root: /srv/www                # what no host is for; without it, that gets 421\n" +
	"hosts:\n" +
	"  downloads.example.com:\n" +
	"    names: [dl.example.com, \"*.dl.example.com\"]\n" +
	"    root: /srv/downloads\n" +
	"    listing: true\n" +
	"    locations:\n" +
	"      /nightly/:\n" +
	"        alias: /srv/builds    # /nightly/f is /srv/builds/f\n" +
	"        cache_control: \"/=no-cache\"\n" +
	"        class: /slow/         # of limits.paths\n" +
	"      /internal/: {allow: [10.0.0.0/8, \"fd00::/8\"]}\n" +
	"```\n\n" +
	"What a host leaves out is as it is above, root and `files` included, but for `locations`.\n"

// locationIntro begins the table of the keys of a location.
const locationIntro = "\n## A location\n\n" +
	"The paths below a prefix, which begins and ends with a slash. They are compared decoded and normalised, so that there is one\n" +
	"way only to write each. A path that lacks the slash is redirected to its location unless it is a file. What a location leaves out\n" +
	"is as in its host. Its networks are asked before anything is opened.\n"

// limitIntro begins the table of the keys of a limit.
const limitIntro = "\n## A limit\n\n" +
	"A limit is a rate (`10MiB/s`), or a mapping of these keys (`{rate: 10MiB/s, burst: 1MiB}`). In a flag and a variable the\n" +
	"keys follow the rate: `10MiB/s,burst=1MiB`.\n"

// profileIntro begins the table of the keys of a profile.
const profileIntro = "\n## A profile\n\n" +
	"A profile is a mapping of these keys (`degraded: {global: 40MiB/s, match: {alertname: HighErrorRate}}`). In a flag and a\n" +
	"variable they are one line: `degraded=global=40MiB/s,match.alertname=HighErrorRate`, in which a comma of a value is `%2C`.\n"
