"""What importing loads. `lint-imports` (pyproject.toml) checks which folder imports which."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGE = "napari_promptable"

QT_AND_NAPARI = {"magicgui", "napari", "qtpy", "superqt", "vispy", "PyQt5", "PyQt6", "PySide6"}
HEAVY = QT_AND_NAPARI | {"torch", "numpy", "scipy", "skimage"}


def find_loaded(module: str, names: set[str]) -> str:
    """Import a module in a new interpreter and tell which of the names are loaded then."""
    code = f"import sys, {module}; print(*sorted({names!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_importing_the_package_is_light() -> None:
    assert find_loaded(PACKAGE, HEAVY) == ""


def test_the_command_line_starts_without_torch() -> None:
    assert find_loaded(f"{PACKAGE}.cli", QT_AND_NAPARI | {"torch"}) == ""


@pytest.mark.gui
def test_the_dock_widget_opens_without_torch() -> None:
    assert find_loaded(f"{PACKAGE}.gui.widget", {"torch"}) == ""


def test_importing_the_package_leaves_the_environment_alone() -> None:
    code = (
        "import os; before = dict(os.environ); import napari_promptable.predict.predictor; "
        "print(dict(os.environ) == before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "True"
