#!/bin/sh
# Installs the real SIP peers that the tests talk to, as far as they are missing
# and this machine allows it: baresip, SIPp, Kamailio, Chromium, PostgreSQL, strace and
# tshark through apt, JsSIP and a client library of the API through npm. Quick when everything
# is there.
#
# What cannot be installed is named with its reason. That is a failure only with
# CI=true: elsewhere the tests that need the missing peer skip.
set -u

cd "$(dirname "$0")/.." || exit 1
missing=""
reasons=""

have() { command -v "$1" >/dev/null 2>&1; }

want() { # want COMMAND PACKAGE
	have "$1" || missing="$missing $2"
}

fail() { reasons="$reasons
  - $1"; }

want baresip baresip-core
want sipp sip-tester
have kamailio || [ -x /usr/sbin/kamailio ] || missing="$missing kamailio"
have chromium || have chromium-browser || have google-chrome || missing="$missing chromium"
want npm npm
want strace strace
want tshark tshark
have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"

apt_install() {
	if ! have apt-get; then
		fail "missing:$missing (this system has no apt-get: install them by hand)"
		return
	fi
	as_root=""
	if [ "$(id -u)" != 0 ]; then
		if have sudo && sudo -n true 2>/dev/null; then
			as_root="sudo -n"
		else
			fail "missing:$missing (not root: run 'sudo apt-get install$missing')"
			return
		fi
	fi
	log=$(mktemp)
	echo "install-peers: apt-get install$missing"
	# shellcheck disable=SC2086 # the lists are split on purpose
	if ! { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
		fail "apt-get could not install$missing: $(tail -n 3 "$log" | tr '\n' ' ')"
	fi
	rm -f "$log"
}

[ -z "$missing" ] || apt_install

# npm packages: the lock file decides; node_modules keeps a copy of the lock it came from.
packages() { # packages FOLDER
	dir=$1
	stamp=$dir/node_modules/.installed-lock.json
	if [ -f "$stamp" ] && cmp -s "$stamp" $dir/package-lock.json; then
		return
	fi
	if ! have npm; then
		fail "the npm packages of $dir: npm is missing"
		return
	fi
	log=$(mktemp)
	echo "install-peers: npm ci in $dir"
	if (cd $dir && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
		cp $dir/package-lock.json "$stamp"
	else
		fail "npm ci in $dir failed: $(tail -n 3 "$log" | tr '\n' ' ')"
	fi
	rm -f "$log"
}
packages test/browser
packages test/plivo

if [ -n "$reasons" ]; then
	echo "install-peers: some peers are not there:$reasons" >&2
	if [ "${CI:-}" = true ]; then
		exit 1
	fi
	echo "install-peers: the tests that need them will skip." >&2
fi
exit 0
