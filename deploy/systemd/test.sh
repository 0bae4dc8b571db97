#!/bin/bash
# test.sh PROGRAM: boots a small Debian in a container and checks that the units do there
# what they promise. As root, with debootstrap and systemd-nspawn (systemd-container); two
# minutes. What it makes is in a directory of its own, and gone in the end.
#
#   SUITE=bookworm  another Debian than trixie (systemd 257); bookworm has 252
#   MIRROR=URL      where Debian's packages come from
#   TREE=DIR        use and keep a tree that debootstrap has made with these packages
set -u
program=$(realpath "${1:?PROGRAM is missing}")
here=$(dirname "$(realpath "$0")")
suite=${SUITE:-trixie}
packages=systemd,systemd-sysv,dbus,curl,procps
work=$(mktemp -d)
tree=${TREE:-$work/tree}
nspawn= cgroup=
failed=0

# inside runs a command in the booted tree.
inside() {
	nsenter -t "$leader" -m -u -i -n -p -C -- env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

cleanup() {
	if [ -n "$nspawn" ]; then
		inside systemctl poweroff --force >/dev/null 2>&1
		timeout 20 tail --pid="$nspawn" -f /dev/null || kill "$nspawn"
		wait "$nspawn"
	fi
	[ -n "$cgroup" ] && find "$cgroup" -depth -type d -exec rmdir {} +
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

die() { echo "test.sh: $*" >&2; exit 2; }

# check NAME COMMAND...: one line for each; what a failed one said follows.
check() {
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then
		echo "ok    $name"
	else
		failed=$((failed + 1))
		printf 'FAIL  %s\n%s\n' "$name" "$said"
		inside journalctl --no-pager -u fserve -n 20
	fi
}

# eventually COMMAND...: tries again for 20 seconds.
eventually() {
	local said
	for _ in $(seq 100); do
		said=$("$@" 2>&1) && { echo "$said"; return; }
		sleep 0.2
	done
	echo "$said"
	return 1
}

show() { inside systemctl show -p "$1" --value "${2:-fserve}"; }
main() { show MainPID; }
is() { [ "$(show "$1")" = "$2" ] || { echo "$1 is $(show "$1"), not $2"; return 1; }; }
logged() {
	inside journalctl --sync
	inside journalctl --no-pager -o cat -u fserve --since "@$since" | grep -E "$1" || { echo "no $1"; return 1; }
}
get() { inside curl -sS --fail --max-time 20 http://127.0.0.1/a.txt | grep -qx hello; }
other_main() { local now; now=$(main); [ "$now" != 0 ] && [ "$now" != "$1" ]; }
mark() { since=$(inside date +%s.%N); }

# drop_in LINES: makes them part of the service, and starts it anew.
drop_in() {
	local dir=$tree/etc/systemd/system/fserve.service.d
	mkdir -p "$dir"
	printf '[Service]\n%b\n' "$1" >"$dir/test.conf"
	inside systemctl daemon-reload
	mark
	inside sh -c 'systemctl reset-failed fserve; systemctl restart fserve' # so often is not meant to be
}

boot() {
	local all
	all=$(findmnt -n -t cgroup2 -o TARGET | head -1)
	[ -n "$all" ] && mkdir "$all/$(basename "$work")" || die "no cgroup v2"
	cgroup=$all/$(basename "$work")
	# In a cgroup of its own, with v2 alone, and without the container's filter, which
	# would forbid io_uring.
	SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup" systemd-nspawn --quiet -D "$tree" --boot \
		--register=no --keep-unit --private-network --capability=all --console=pipe \
		>"$work/console" 2>&1 </dev/null &
	nspawn=$!
	eventually pgrep -P "$nspawn" -x systemd >"$work/leader" || die "it does not boot: $(cat "$work/console")"
	leader=$(cat "$work/leader")
	eventually inside systemctl is-system-running --wait 2>/dev/null | grep -qE 'running|degraded' || die "it does not come up: $(cat "$work/console")"
}

# install_service does what docs/operations.md tells.
install_service() {
	mkdir -p "$tree/opt/deploy" && cp "$here"/* "$program" "$tree/opt/deploy/"
	inside sh -ec '
		cd /opt/deploy
		systemctl disable --now fserve.socket fserve.service || true # of a test before, in a tree that was kept
		id fserve || useradd --system --no-create-home fserve
		install -d /srv/downloads
		install -d -o fserve -g fserve -m 750 /var/log/fserve
		install -D '"$(basename "$program")"' /usr/local/bin/fserve
		install -Dm644 fserve.yaml /etc/fserve/fserve.yaml
		install -m644 fserve.service fserve.socket /etc/systemd/system/
		rm -rf /etc/systemd/system/fserve.service.d /var/lib/fserve
		if [ "$(systemctl --version | sed -n "1s/systemd \([0-9]*\).*/\1/p")" -lt 253 ]; then
			install -Dm644 before-253.conf /etc/systemd/system/fserve.service.d/before-253.conf
		fi
		fserve check --config /etc/fserve/fserve.yaml
		systemctl daemon-reload
		echo hello >/srv/downloads/a.txt
		head -c 100M /dev/urandom >/srv/downloads/big'
}

verified() {
	local said
	said=$(inside systemd-analyze verify fserve.service fserve.socket 2>&1 | grep -v notify-reload)
	[ -z "$said" ] || { echo "$said"; return 1; }
}

hardened() { inside systemd-analyze security --no-pager --threshold=15 fserve; }

# unprivileged: a user of its own, no capability, and a system call filter.
unprivileged() {
	local status
	status=$(inside cat "/proc/$(main)/status")
	! grep -qE '^Uid:\s0' <<<"$status" && grep -qE '^CapBnd:\s0+$' <<<"$status" && grep -qE '^Seccomp:\s2' <<<"$status"
}

owned() { [ "$(inside stat -c '%U %a' "$1")" = "$2" ] || { inside stat -c '%n: %U %a' "$1"; return 1; }; }

# all_loops: two hundred connections that stay open are not all in one loop.
all_loops() {
	inside bash -c '
		for i in $(seq 200); do
			exec {c}<>/dev/tcp/127.0.0.1/80
			printf "GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" >&$c
			read -r _ <&$c
		done
		curl -sS --unix-socket /run/fserve/admin.sock http://admin/metrics' >"$work/metrics" || return
	grep '^fserve_loop_connections' "$work/metrics"
	! grep -qE '^fserve_loop_connections\{.*\} 0$' "$work/metrics"
}

reload_good() {
	mark
	inside sed -i 's/client: .*/client: 60MiB\/s/' /etc/fserve/fserve.yaml
	inside systemctl reload fserve && eventually logged 'configuration reloaded .*changed=[1-9]' && is ActiveState active
}

reload_bad() {
	inside sed -i 's/client: .*/client: 60/' /etc/fserve/fserve.yaml
	! inside systemctl reload fserve && is ActiveState active && get
}

# start_broken: the file is still the bad one.
start_broken() {
	mark
	inside systemctl restart fserve && get && eventually logged last_good=
}

# prioritized: of the log, errors alone are errors for the journal.
prioritized() {
	inside journalctl --no-pager -q -o cat -p err _SYSTEMD_UNIT=fserve.service >"$work/errors"
	grep 'ERROR .*last_good=' "$work/errors" && ! grep INFO "$work/errors"
}

# stay_down: without a configuration that has worked it is not started again and again.
stay_down() {
	inside sh -c 'systemctl stop fserve.socket fserve; rm -rf /var/lib/fserve/*'
	! inside systemctl start fserve && sleep 1 && is ActiveState failed && is NRestarts 0
	local rc=$?
	inside sed -i 's/client: .*/client: 60MiB\/s/' /etc/fserve/fserve.yaml
	inside systemctl reset-failed fserve.socket fserve
	inside systemctl start fserve.socket fserve
	return $rc
}

# revived COMMAND...: what a process suffers ends it, and another one serves.
revived() {
	local before restarts
	before=$(main) restarts=$(show NRestarts)
	[ "$before" != 0 ] && inside "$@" "$before"
	eventually other_main "$before" && get && [ "$(show NRestarts)" -gt "$restarts" ]
}

# download starts one of five seconds; downloaded waits for it and compares.
download() { inside curl -sS --limit-rate 20M -o /opt/got http://127.0.0.1/big & downloading=$!; sleep 1; }
downloaded() { wait "$downloading" && inside cmp /opt/got /srv/downloads/big; }

upgrade() {
	local before
	before=$(main)
	inside systemctl kill --signal=SIGUSR2 --kill-whom=main fserve
	eventually other_main "$before" || return
	[ "$(inside ps -o ppid= -p "$(main)" | tr -d ' ')" = 1 ] || { echo "it is not a child of systemd"; return 1; }
}

upgrade_under_download() {
	local restarts
	restarts=$(show NRestarts)
	download
	upgrade && inside systemctl reload fserve && get && downloaded && is ActiveState active && is NRestarts "$restarts"
}

# successor_dies while the process before it still sends: it is noticed at once.
successor_dies() {
	download
	upgrade && revived kill -9
	wait "$downloading"
	is ActiveState active
}

drains() {
	download
	mark
	inside systemctl stop fserve && downloaded && is Result success && eventually logged draining
}

# falls_back: what the unit's filter forbids is not used, and why is said.
falls_back() {
	drop_in 'SystemCallFilter=~io_uring_setup'
	eventually logged 'driver fallback \(io_uring' && get
}

[ "$(id -u)" = 0 ] || die "it needs root"
if [ -z "${TREE:-}" ]; then
	debootstrap --variant=minbase --include="$packages" "$suite" "$tree" ${MIRROR:+"$MIRROR"} >"$work/log" 2>&1 || die "$(tail -5 "$work/log")"
fi
boot
inside systemctl --version | head -1
install_service >"$work/log" 2>&1 || die "$(cat "$work/log")"
mark
check "systemd-analyze verify" verified
check "start" inside systemctl enable --now fserve.socket fserve.service
check "port 80 is served" get
if [ "$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null)" = 0 ]; then
	check "io_uring under the filter" eventually logged 'driver uring'
fi
check "openat2 under the filter" logged 'workers$'
check "no privilege" unprivileged
check "systemd-analyze security" hardened
check "access log" eventually owned /var/log/fserve/access.log 'fserve 640'
check "last good configuration" eventually owned /var/lib/fserve/last-good.yaml 'fserve 600'
check "admin socket" owned /run/fserve/admin.sock 'fserve 600'
check "connections are in all event loops" all_loops
check "reload" reload_good
check "reload of a bad file" reload_bad
check "start with a bad file" start_broken
check "priorities in the journal" prioritized
check "start without any good file" stay_down
check "kill -9" revived kill -9
check "a crash of Go" revived kill -ABRT
check "upgrade under a download" upgrade_under_download
check "the successor dies" successor_dies
check "stop under a download" drains
check "started by a connection" get
drop_in 'WatchdogSec=2s'
check "watchdog" revived kill -STOP
check "io_uring forbidden" falls_back
echo
echo "$failed failed"
[ "$failed" = 0 ]
