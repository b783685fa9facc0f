#!/usr/bin/env bash
# Run the tests, and end with one line: N passed, N failed[, N skipped].
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. Otherwise three processes share the tests: each begins
# with a third of them, and the one that is done first takes over some of the others'. Three keep
# two cores busy while one waits for a thread, a process or a disk. Window tests move the pointer,
# so each process gets a virtual screen of its own; where there are no virtual screens, there is
# one process. When a graphics driver crashes a process
# (src/napari_promptable/gui/layers/canvas.py describes one way), pytest starts another and
# repeats the test that was running, at most twice. It does not repeat a test that fails.
set -uo pipefail
python=$1
shift

if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi

work=$(mktemp -d)
screens=()
clean_up() {
    [ ${#screens[@]} -eq 0 ] || kill "${screens[@]}"
    rm -rf "$work"
}
trap clean_up EXIT

# Start a virtual screen; `display` becomes its name.
start_screen() {
    mkfifo "$work/number"
    Xvfb -displayfd 3 -screen 0 1600x1200x24 +extension GLX +render -noreset -nolisten tcp \
        3>"$work/number" >"$work/screen.log" 2>&1 &
    screens+=($!)
    read -r display <"$work/number"
    rm "$work/number"
    display=:$display
}

processes=(-n 1)
if command -v Xvfb >/dev/null; then
    processes=()
    for _ in 1 2 3; do
        start_screen
        processes+=(--tx "popen//env:DISPLAY=$display")
    done
fi

"$python" -m pytest --junitxml "$work/tests.xml" "${processes[@]}" --dist worksteal \
    --reruns 2 --only-rerun '^crash$'
status=$?
"$python" - "$work/tests.xml" <<'END'
import sys
import xml.etree.ElementTree as ElementTree

[suite] = ElementTree.parse(sys.argv[1]).iter("testsuite")
tests, failures, errors, skipped = (
    int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")
)
failed = failures + errors
line = f"{tests - failed - skipped} passed, {failed} failed"
print(line + (f", {skipped} skipped" if skipped else ""))
END
exit $status
