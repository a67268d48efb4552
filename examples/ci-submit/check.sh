#!/usr/bin/env bash
# Exercises submit.sh: success, the same step again, failure.
set -euo pipefail
export CI_STEP_ID=check-$$
first=$(./submit.sh 2>first.err) || { cat first.err >&2; exit 1; }
again=$(./submit.sh 2>again.err) || { cat again.err >&2; exit 1; }
job() { grep -o 'job [0-9]*' "$1" | head -n 1; }
[ "$(job first.err)" = "$(job again.err)" ] || { echo "the retried step made another job" >&2; exit 1; }
[ "$first" = "$again" ] || { echo "the two logs differ" >&2; exit 1; }
rm -f first.err again.err
code=0
CI_STEP_ID=check-fail-$$ BUILD='echo broken; exit 7' ./submit.sh >out 2>err || code=$?
[ $code -eq 1 ] && grep -q broken out && grep -q 'exit code 7' err || { cat out err; echo "a failing build gave $code" >&2; exit 1; }
rm -f out err
echo "ci-submit: success, retry and failure as documented"
