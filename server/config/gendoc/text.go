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
	"  `limits.paths`) it adds; an entry that is there already is an error.\n" +
	"- A flag or a variable replaces all of a list or a table. Repeatable flags add to each other; in a variable, addresses\n" +
	"  and networks take commas, other lists take one element a line.\n" +
	"- Paths of files are relative to the directory in which fserve was started, wherever they are written.\n\n" +
	"## Reload\n\n" +
	"At SIGHUP, and when the content of the files changes (symbolic links that are swapped and files that are replaced\n" +
	"included), all of it is read and checked again. If anything is wrong, nothing changes, and the log says what. What takes\n" +
	"effect at once is applied to running downloads too; what needs a restart stays as it was, and is named in the log.\n" +
	"Files that are missing or cannot be read leave everything as it is.\n\n" +
	"The last configuration of files that the server has run with is kept in the state directory, readable by its owner\n" +
	"only. With `--config-fallback` a server that finds its files broken starts from it, and says so.\n"

// limitIntro begins the table of what a limit has.
const limitIntro = "\n## A limit\n\n" +
	"A limit is a rate (`10MiB/s`), or a mapping of these keys (`{rate: 10MiB/s, burst: 1MiB}`). In a flag and a variable the\n" +
	"keys follow the rate: `10MiB/s,burst=1MiB`.\n"
