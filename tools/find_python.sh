#!/bin/sh
# Print the first Python from 3.11 to 3.13 that runs, those named as arguments first; say what to install if none does.
for python in ${PYTHON:-} "$@" python3 python3.13 python3.12 python3.11 python; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "pgnotes: no Python 3.11, 3.12 or 3.13 found; install one (python.org, or your system's packages)" \
    "or name it: make PYTHON=/path/to/python3" >&2
exit 1
