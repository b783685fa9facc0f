"""The walls and arrows between the modules: who may import whom, and what stays unloaded.

All imports count for the arrows and for the wall around the GUI, also those inside functions.
The wall around torch is about import time: a function may import it when it is called.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "napari_promptable"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE

LAYERS = (
    {"errors"},
    {"registry"},
    {"models"},
    {
        "checkpoints",
        "commits",
        "image_io",
        "masks",
        "planes",
        "prompt_document",
        "prompts",
        "propagation_settings",
        "transforms",
    },
    {"gaps", "labelled_images", "tiling", "upsampling"},
    {"embeddings", "overview"},
    {
        "appearance",
        "decoding",
        "embedding_store",
        "history",
        "object_labels",
        "refinement",
        "slice_steps",
    },
    {"encoding", "predictor", "questions", "review"},
    {"prompted_objects"},
    {"automatic", "propagation"},
    {"volumes"},
    {
        "session",
        "session_document",
        "session_folder",
        "slice_line",
        "export",
        "finetune",
        "evaluate",
        "sample_data",
    },
    {"distributed", "evaluation_report", "headless", "replay"},
    {"demo"},
    {"cli", "gui"},
)
"""Lowest first; a module imports from its own layer and from those below. Modules of `models`
and `gui` belong to the layer of their folder."""

WITH_TORCH_LOADED = {"models", "upsampling", "decoding", "predictor", "automatic"}
WITH_TORCH_LOADED |= {"finetune"}
WITH_TORCH_LOADED |= {"evaluate", "evaluation_report", "headless", "replay", "demo"}
"""Whose import may load torch; that of all others must not."""

GUI_TOOLKITS = {"napari", "qtpy", "superqt", "magicgui", "vispy"}
QT_BINDINGS = {"PyQt5", "PyQt6", "PySide2", "PySide6"}


class Import(NamedTuple):
    """One import statement's target."""

    target: str
    line: int


def _find_modules() -> dict[str, Path]:
    """Map names without the package's to files; the package itself is "" and left out."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(ROOT.rglob("*.py"))
    }
    del paths["__init__"]  # it imports lazily and names everything
    return paths


MODULES = _find_modules()
TORCH_FREE = [name for name in MODULES if name.split(".")[0] not in WITH_TORCH_LOADED]


def _find_imports(name: str) -> Iterator[Import]:
    """Find the absolute targets of all import statements in a module."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} has a relative import"
            assert node.module is not None
            yield from (
                Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names
            )


def _find_own_imports(name: str) -> dict[str, int]:
    """Map the package's modules that a module imports to line numbers."""
    own = {}
    for target, line in _find_imports(name):
        if not target.startswith(f"{PACKAGE}."):
            continue
        inner = target.removeprefix(f"{PACKAGE}.")
        while inner and inner not in MODULES:
            inner = inner.rpartition(".")[0]
        if inner and inner != name:
            own[inner] = line
    return own


def _layer_of(name: str) -> int:
    """Find the layer of a module."""
    for number, names in enumerate(LAYERS):
        if name.split(".")[0] in names:
            return number
    pytest.fail(f"{name} has no place yet: name it in LAYERS")


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_modules_are_found() -> None:
    assert {"errors", "registry", "models.sam"} <= MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_down(name: str) -> None:
    layer = _layer_of(name)
    upward = [
        f"line {line}: {target}"
        for target, line in _find_own_imports(name).items()
        if _layer_of(target) > layer
    ]
    assert not upward, f"{name} imports from a higher layer"


def test_there_is_no_cycle() -> None:
    graph = {name: _find_own_imports(name).keys() for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] != "gui"])
def test_gui_toolkits_stay_in_the_gui(name: str) -> None:
    imports = [target for target, _ in _find_imports(name)]
    assert not {target.split(".")[0] for target in imports} & GUI_TOOLKITS


@pytest.mark.parametrize("name", MODULES)
def test_no_qt_binding_is_named(name: str) -> None:
    imports = [target for target, _ in _find_imports(name)]
    assert not {target.split(".")[0] for target in imports} & QT_BINDINGS


def test_importing_the_package_is_light() -> None:
    heavy = GUI_TOOLKITS | QT_BINDINGS | {"torch", "numpy", "scipy", "skimage"}
    result = _run_python(
        f"import sys, {PACKAGE}; print(sorted({heavy!r} & sys.modules.keys()))"
    )
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize(
    ("names", "forbidden"),
    [
        pytest.param(
            [name for name in TORCH_FREE if name.split(".")[0] != "gui"],
            GUI_TOOLKITS | QT_BINDINGS | {"torch"},
            id="core",
        ),
        pytest.param(
            [name for name in TORCH_FREE if name.split(".")[0] == "gui"],
            {"torch"},
            id="gui",
            marks=pytest.mark.gui,
        ),
    ],
)
def test_import_leaves_heavy_packages_alone(names: list[str], forbidden: set[str]) -> None:
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module("{PACKAGE}." + name)
    if loaded := {forbidden!r} & sys.modules.keys():
        sys.exit(f"importing {{name}} loads {{sorted(loaded)}}")
"""
    result = _run_python(code)
    assert result.returncode == 0, result.stderr
