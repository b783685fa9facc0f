"""Modules that an import loads, and the length of modules and classes.

`lint-imports` (pyproject.toml) checks which folder imports which.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "napari_promptable"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

MAX_LINES, MAX_METHODS = 400, 20

QT_AND_NAPARI = {"magicgui", "napari", "qtpy", "superqt", "vispy", "PyQt5", "PyQt6", "PySide6"}
HEAVY = QT_AND_NAPARI | {"torch", "numpy", "scipy", "skimage"}


def find_loaded(module: str, names: set[str]) -> str:
    """Import a module in a new interpreter and return which of the names it loads."""
    code = f"import sys, {module}; print(*sorted({names!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def read_modules() -> dict[str, str]:
    """Source text by path below the package."""
    return {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
    }


def test_modules_are_short() -> None:
    lengths = {name: text.count("\n") for name, text in read_modules().items()}
    assert {name for name, length in lengths.items() if length > MAX_LINES} == set()


def test_classes_have_few_methods() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    num_methods = {
        f"{name} {node.name}": sum(isinstance(part, functions) for part in node.body)
        for name, text in read_modules().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    assert {name for name, num in num_methods.items() if num > MAX_METHODS} == set()


def test_importing_the_package_is_light() -> None:
    assert find_loaded(PACKAGE, HEAVY) == ""


def test_the_command_line_starts_without_torch() -> None:
    assert find_loaded(f"{PACKAGE}.cli", QT_AND_NAPARI | {"torch"}) == ""


@pytest.mark.gui
def test_the_dock_widget_opens_without_torch() -> None:
    assert find_loaded(f"{PACKAGE}.gui.widget", {"torch"}) == ""


@pytest.mark.gui
def test_opening_the_dock_widget_imports_nothing_large() -> None:
    code = (
        "import sys; from napari import Viewer; import napari.layers; before = {*sys.modules}; "
        "import napari_promptable.gui.widget; new = {*sys.modules} - before; "
        "large = {'scipy', 'skimage', 'pandas', 'torch'}; "
        "print(*large & {name.split('.')[0] for name in new})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_importing_the_package_leaves_the_environment_alone() -> None:
    code = (
        "import os; before = dict(os.environ); import napari_promptable.predict.predictor; "
        "print(dict(os.environ) == before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "True"
