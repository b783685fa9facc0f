#!/usr/bin/env bash
# Run the tests, and end with one line: N passed, N failed[, N skipped].
#
#     scripts/run_tests.sh PYTHON [ARGUMENTS OF PYTEST]
#
# With arguments, pytest gets just these. Tests without a window are shared out, by file, to two
# processes. Window tests run in a process of their own, which is replaced when a graphics
# driver crashes it (src/napari_promptable/gui/layers/canvas.py describes one way). Only the
# test that was running is then repeated, at most twice; a test that fails without a crash is
# not.
set -uo pipefail
python=$1
shift

if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
status=0
"$python" -m pytest --junitxml "$reports/plain.xml" -n 2 --dist loadfile -m "not gui" || status=1
"$python" -m pytest --junitxml "$reports/window.xml" -n 1 --reruns 2 --only-rerun '^crash$' \
    tests -m gui || status=1
"$python" - "$reports"/*.xml <<'END'
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
