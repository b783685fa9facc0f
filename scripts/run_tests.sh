#!/usr/bin/env bash
# Run the tests, and end with one line: N passed, N failed[, N skipped].
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. Otherwise two processes share the tests, file by file:
# first the tests without a window, then the window tests. These move the pointer, so each
# process gets a virtual screen of its own where there are any. When a graphics driver crashes a
# process (src/napari_promptable/gui/layers/canvas.py describes one way), pytest starts another
# and repeats the test that was running, at most twice. It does not repeat a test that fails.
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
    for _ in 1 2; do
        start_screen
        processes+=(--tx "popen//env:DISPLAY=$display")
    done
fi

status=0
"$python" -m pytest --junitxml "$work/plain.xml" -n 2 --dist loadfile -m "not gui" || status=1
"$python" -m pytest --junitxml "$work/window.xml" "${processes[@]}" --dist load \
    --reruns 2 --only-rerun '^crash$' tests -m gui || status=1
"$python" - "$work"/*.xml <<'END'
import sys
import xml.etree.ElementTree as ElementTree

total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
for path in sys.argv[1:]:
    for suite in ElementTree.parse(path).iter("testsuite"):
        for name in total:
            total[name] += int(suite.get(name, 0))
failed = total["failures"] + total["errors"]
line = f"{total['tests'] - failed - total['skipped']} passed, {failed} failed"
print(line + (f", {total['skipped']} skipped" if total["skipped"] else ""))
END
exit $status
