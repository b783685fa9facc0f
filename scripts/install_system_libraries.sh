#!/usr/bin/env bash
# Install the system packages that napari-promptable's tests and environment need.
#
#     scripts/install_system_libraries.sh venv PYTHON    what `PYTHON -m venv` needs
#     scripts/install_system_libraries.sh gui            what Qt and OpenGL need without a screen
#
# Only what is missing is installed, with apt; elsewhere, the script says what to install.
set -euo pipefail

# Qt and OpenGL, in the order: libraries that PyQt6 links to, its X11 plugin, a virtual screen
# with a software renderer.
gui_packages=(
    libegl1 libgl1 libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon0 fonts-dejavu-core
    libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
    libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libxkbcommon-x11-0
    libgl1-mesa-dri xauth xvfb
)

is_installed() {
    # Newer Debian and Ubuntu call some libraries NAMEt64.
    dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed' ||
        dpkg -s "$1t64" 2>/dev/null | grep -q '^Status: install ok installed'
}

case "${1:-}" in
venv)
    python=${2:?give a Python interpreter}
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then exit 0; fi
    packages=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    ;;
gui) packages=("${gui_packages[@]}") ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

if [ "$(uname -s)" != Linux ]; then
    if [ "$1" = gui ]; then exit 0; fi # the Qt wheels bring everything there
    echo "This Python has no venv module: install a complete one from https://python.org." >&2
    exit 1
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    if [ "$1" = gui ] && command -v xvfb-run >/dev/null; then
        echo "No apt here; if Qt does not start, install what these Debian packages hold:" >&2
        echo "    ${packages[*]}" >&2
        exit 0
    fi
    echo "No apt here. Install what these Debian packages hold, then try again:" >&2
    echo "    ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "System libraries: all ${#packages[@]} packages are installed."
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "As root, run: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "System libraries: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
