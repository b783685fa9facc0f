#!/usr/bin/env bash
# Run the tests without a window, then those with real napari windows.
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. Each file of window tests is a process of its own: the
# software renderer (llvmpipe of Mesa 22.3) was seen to crash in glDrawArrays, once in a few
# hundred windows. A file whose process crashed is run once more, then with Mesa's other
# software renderer, which is five times slower; failed tests are not repeated.
set -uo pipefail
python=$1
shift

if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi

run() {
    local status
    for renderer in "" "" softpipe; do
        env ${renderer:+"GALLIUM_DRIVER=$renderer"} "$python" -m pytest "$@"
        status=$?
        [ "$status" -ge 128 ] || break
        echo "pytest $* was killed by signal $((status - 128))" >&2
    done
    return "$status"
}

failed=()
run src tests --ignore=tests/gui || failed+=("those without a window")
for file in tests/gui/test_*.py; do
    run -q "$file" || failed+=("$file")
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
