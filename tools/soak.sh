#!/bin/sh
# Heavy counts: 5 000 examples per property, 50 000 inputs per parser; the result goes to docs/soak.md.
# usage: sh tools/soak.sh [test paths]   (default: tests/property tests/unit)
set -eu
[ $# -gt 0 ] || set -- tests/property tests/unit
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
HYPOTHESIS_PROFILE=soak pytest -n 2 -q --timeout 7200 "$@" >"$output" 2>&1 || status=$?
tail -n 3 "$output"
[ "$status" -eq 0 ] || grep -E '^(E  |FAILED)' "$output" | cut -c1-300 | head -40
{
    echo "# Last soak run"
    echo
    echo "\`make soak\`: Hypothesis profile soak (5 000 examples per property, 50 000 inputs per parser)."
    echo
    echo "| | |"
    echo "|---|---|"
    echo "| begun | $started |"
    echo "| commit | $(git rev-parse --short HEAD) |"
    echo "| tests | $(echo "$*" | sed 's/ /, /g') |"
    echo "| Python | $(python --version 2>&1) on $(uname -m) |"
    echo "| exit code | $status |"
    echo "| result | $(tail -n 1 "$output" | tr -d '=' | sed 's/^ *//;s/ *$//') |"
} >docs/soak.md
exit "$status"
