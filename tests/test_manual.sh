#!/usr/bin/env bash
# The manual page as mandoc sees it. It has no date: the same source gives the same page.
set -euo pipefail
found=$("$1" help --man | mandoc -T lint -W warning | grep -v 'missing date, using ""' || true)
[ -z "$found" ] || { printf 'test_manual: %s\n' "$found" >&2; exit 1; }
page=$("$1" help --man | mandoc -T html -O fragment)
[[ $page == *'id="duet_train_'* ]] || { echo "test_manual: no page" >&2; exit 1; }
