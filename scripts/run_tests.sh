#!/usr/bin/env bash
# Run the tests in two processes, and end with one line: N passed, N failed[, N skipped].
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. Each file runs in one process. A process that a
# graphics driver crashes is replaced (src/napari_promptable/gui/layers/canvas.py describes one
# way), and only the test that was running is repeated, at most twice; a test that fails
# without a crash is not.
set -euo pipefail
python=$1
shift

if [ $# -eq 0 ]; then
    set -- -n 2 --dist loadfile --reruns 2 --only-rerun '^crash$'
fi
exec "$python" -m pytest "$@"
