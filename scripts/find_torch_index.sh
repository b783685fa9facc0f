#!/usr/bin/env bash
# Print the package index that has a CPU build of PyTorch, or nothing if pip needs no other.
#
#     scripts/find_torch_index.sh PYTHON VERSION
#
# On Linux, PyPI's build brings gigabytes of CUDA. Where pip already knows a CPU build, and on
# other systems, no other index is needed. PyTorch's own index is asked once: pip would try it
# again and again, for every package, where it cannot be reached.
set -euo pipefail
python=$1 version=$2
index=https://download.pytorch.org/whl/cpu

[ "$(uname -s)" = Linux ] || exit 0
known=$("$python" -m pip index versions torch 2>/dev/null) || true
[[ "$known" != *"$version+cpu"* ]] || exit 0

if "$python" -c '
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=5).close()
' "$index/torch/" 2>/dev/null; then
    echo "$index"
else
    echo "Note: $index cannot be reached, so PyTorch comes from PyPI with several GB of CUDA." \
        "For a smaller one: make env TORCH_INDEX=URL, an index that has torch $version+cpu." >&2
fi
