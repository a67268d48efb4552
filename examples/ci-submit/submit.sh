#!/usr/bin/env bash
# A CI step that builds a commit on weir and follows it: the step's own log is
# the build's log, and its exit code says how the build ended.
#
#   WEIR_CAPABILITY  a submit capability, from the CI system's secret store
#   WEIR_POOL        the pool to build in
#   WEIR_REPO        the repository, as the workers reach it
#   WEIR_COMMIT      the commit
#   CI_STEP_ID       names this step of this run: a retried step finds its job
#                    again instead of starting another
set -u

weir submit \
	--pool "$WEIR_POOL" \
	--repo "$WEIR_REPO" --commit "$WEIR_COMMIT" \
	--cache-hint "$(basename "$WEIR_REPO" .git)" \
	--timeout 30m \
	--retry-for 10m \
	--request-key "${CI_STEP_ID:?}" \
	-- sh -c "${BUILD:-ls && git log --oneline -1}"
code=$?

case $code in
0) ;;
1) echo "The build failed: its log is above." >&2 ;;
3) echo "weir cannot be reached; run this step again: it finds its job." >&2 ;;
6) echo "Every attempt lost its worker; run this step with a new CI_STEP_ID." >&2 ;;
*) echo "weir ended with $code: see 'weir submit --help'." >&2 ;;
esac
exit $code
