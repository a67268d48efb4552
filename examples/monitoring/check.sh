#!/usr/bin/env bash
# Checks the rules and dashboards. promtool is taken from PATH, or unpacked from
# Debian's package, without installing it, into the user's cache directory.
set -euo pipefail
cd "$(dirname "$0")"

# The metrics that rules and dashboards use, and those that are documented.
used=$(cat alerts.yml dashboards/*.json | grep -oE '\bweir_[a-z0-9_]+' | sed -E 's/_(bucket|sum|count)$//' | sort -u)
known=$(grep -hoE '^\| `weir_[a-z0-9_]+`' ../../scheduler/METRICS.md ../../workerd/METRICS.md | tr -d '|` ' | sort -u)
unknown=$(comm -23 <(echo "$used") <(echo "$known"))
[ -z "$unknown" ] || { echo "monitoring: metrics that weir does not have:" $unknown >&2; exit 1; }
for d in dashboards/*.json; do
	python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["panels"] and d["uid"]' "$d" 2>/dev/null ||
		! command -v python3 >/dev/null || { echo "monitoring: $d is no dashboard" >&2; exit 1; }
done

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/weir/promtool
	promtool=$cache/usr/bin/promtool
	if [ ! -x "$promtool" ] && command -v apt-get >/dev/null; then
		tmp=$(mktemp -d)
		trap 'rm -rf "$tmp"' EXIT
		fetch() { (cd "$tmp" && apt-get -qq download prometheus) >"$tmp/log" 2>&1; }
		fetch || { apt-get -qq -o DPkg::Lock::Timeout=500 update >/dev/null 2>&1 && fetch; } || cat "$tmp/log" >&2
		mkdir -p "$cache"
		for deb in "$tmp"/prometheus_*.deb; do [ -e "$deb" ] && dpkg-deb -x "$deb" "$cache"; done
	fi
fi
if [ ! -x "$promtool" ]; then
	[ -z "${WEIR_NO_SKIP:-}" ] || { echo "monitoring: there is no promtool (Debian's package prometheus has it)" >&2; exit 1; }
	echo "monitoring: skipped what needs promtool (Debian's package prometheus has it)"
	exit 0
fi
run() { out=$("$promtool" "$@" 2>&1) || { echo "$out" >&2; exit 1; }; }
run check config --syntax-only prometheus.yml
run check rules alerts.yml
run test rules alerts_test.yml
echo "monitoring: $(echo "$used" | wc -l) metrics in rules and dashboards, all known; the rules' tests pass"
