#!/usr/bin/env bash
# Run the tests without a window, then those with real napari windows.
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. The windows are a process of their own: the software
# renderer (llvmpipe of Mesa 22.3) was seen to crash in glDrawArrays, once in a few hundred windows.
# A crash of the process is tried once more; a failed test is not.
set -euo pipefail
python=$1
shift

run() {
    local status=0
    "$python" -m pytest "$@" || status=$?
    if [ "$status" -ge 128 ]; then
        echo "pytest was killed by signal $((status - 128)); once more" >&2
        status=0
        "$python" -m pytest "$@" || status=$?
    fi
    return "$status"
}

if [ $# -gt 0 ]; then
    run "$@"
else
    run src tests --ignore=tests/gui
    run tests/gui
fi
