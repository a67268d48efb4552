#!/usr/bin/env bash
# A CI step that builds weir's own image: WEIR_CAPABILITY is a client's capability, and
# a worker of the pool has --docker and --allow-push "$IMAGE".
set -euo pipefail
exec "${WEIR:-weir}" submit --pool "${POOL:-linux}" \
	--repo "$REPO" --commit "$COMMIT" --cache-hint weir-image --request-key "$CI_STEP_ID" \
	--dockerfile examples/dockerfile/Dockerfile --build-arg GOPROXY="${GOPROXY:-https://proxy.golang.org}" \
	--push "$IMAGE:$COMMIT" --cache-from "$IMAGE:cache" --cache-to "$IMAGE:cache"
