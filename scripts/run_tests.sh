#!/usr/bin/env bash
# Run the tests without a window, then those with real napari windows.
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. The window tests run in a process of their own, which
# is replaced when a graphics driver crashes it (src/napari_promptable/gui/canvas.py tells of one
# way). Only the test that was running is then repeated, at most twice; a test that fails
# without a crash is not.
set -uo pipefail
python=$1
shift

if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi

failed=()
"$python" -m pytest src tests -m "not gui" || failed+=("tests without a window")
"$python" -m pytest -n 1 --reruns 2 --only-rerun '^crash$' tests -m gui || failed+=("window tests")
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
