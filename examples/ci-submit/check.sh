#!/usr/bin/env bash
# Exercises submit.sh: success, the same step again, failure.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export CI_STEP_ID=check-$$
first=$(./submit.sh 2>"$dir/first.err") || { cat "$dir/first.err" >&2; exit 1; }
again=$(./submit.sh 2>"$dir/again.err") || { cat "$dir/again.err" >&2; exit 1; }
job() { grep -o 'job [0-9]*' "$1" | head -n 1; }
[ "$(job "$dir/first.err")" = "$(job "$dir/again.err")" ] || { echo "the retried step made another job" >&2; exit 1; }
[ "$first" = "$again" ] || { echo "the two logs differ" >&2; exit 1; }
code=0
CI_STEP_ID=check-fail-$$ BUILD='echo broken; exit 7' ./submit.sh >"$dir/out" 2>"$dir/err" || code=$?
[ $code -eq 1 ] && grep -q broken "$dir/out" && grep -q 'exit code 7' "$dir/err" ||
	{ cat "$dir/out" "$dir/err" >&2; echo "a failing build gave $code" >&2; exit 1; }
echo "ci-submit: success, retry and failure as documented"
