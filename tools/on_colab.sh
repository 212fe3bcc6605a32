#!/bin/sh
# The lessons and the t4 preset on a real Colab T4, from a terminal.
#
#     tools/on_colab.sh [steps]          120 by default; what comes back lies in runs/on-colab
#
# It needs a Google account and google-colab-cli (pip install google-colab-cli, Python 3.12 or newer), which asks for a
# sign-in the first time. COLAB names another command in its place. The machine is given back at the end, whatever ends it.
set -eu

COLAB="${COLAB:-colab}"
STEPS="${1:-120}"
SESSION="pgnotes-$$"
HERE="$(cd "$(dirname "$0")/.." && pwd)"
BACK="$HERE/runs/on-colab"
case "$STEPS" in *[!0-9]* | "") echo "steps is '$STEPS'; it must be a number" >&2; exit 2 ;; esac
command -v "$COLAB" >/dev/null || { echo "$COLAB is not installed: pip install google-colab-cli" >&2; exit 2; }

mkdir -p "$BACK"
git -C "$HERE" archive --prefix=pgnotes/ --output="$BACK/pgnotes.tar.gz" HEAD

trap '"$COLAB" stop -s "$SESSION"' EXIT
"$COLAB" new -s "$SESSION" --gpu T4
"$COLAB" upload -s "$SESSION" "$BACK/pgnotes.tar.gz" /content/pgnotes.tar.gz
{ echo "STEPS = $STEPS"; cat "$HERE/tools/on_colab.py"; } >"$BACK/job.py"
"$COLAB" exec -s "$SESSION" --timeout 14400 -f "$BACK/job.py" | tee "$BACK/said.txt"
"$COLAB" download -s "$SESSION" /content/on-colab.tar.gz "$BACK/on-colab.tar.gz"
grep -q "^on colab: all of it ran" "$BACK/said.txt"
