"""Pictures, links and figures in the docs agree with the source."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from benchmarks.run import BEGIN, CASES, END
from napari_promptable.weights.checkpoints import checkpoint_path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src/napari_promptable"
ON_GITHUB = "https://github.com/napari-promptable/napari-promptable/blob/main/"
PAGES = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_picture_of_the_architecture_agrees_with_the_imports() -> None:
    path = DOCS / "scripts/draw_architecture.py"
    script = runpy.run_path(str(path))
    is_current = read(script["PICTURE"]) == script["draw"]()
    assert is_current, f"run python {path.relative_to(ROOT)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = read(page)
    linked = re.findall(re.escape(ON_GITHUB) + r"([^\s)]+)", text)
    named = re.findall(r"`([\w/]+/\w+\.py)`", text)
    assert [path for path in linked if not (ROOT / path).exists()] == []
    places = (ROOT, SOURCE)
    assert [path for path in named if not any((p / path).exists() for p in places)] == []


def test_the_walk_of_a_click_names_functions_that_exist() -> None:
    page = read(DOCS / "explanation/architecture.md")
    steps = re.findall(r"^\d\. \[`([\w/.]+)`\].*?(?=^\d\. |\n\n)", page, re.M | re.S)
    assert len(steps) == 10
    walk = page.partition("## One click")[2].partition("\n[")[0]
    code = "".join(read(SOURCE / path) for path in steps)
    for name in re.findall(r"`(?:[A-Z]\w+\.)?(\w+)`", walk):
        assert re.search(rf"\b(def|class) {name}\b|\b{name}\b = Signal", code) or (
            name == "gui"
        ), name


def test_the_readme_tells_the_size_and_the_figures_of_the_bundled_model() -> None:
    readme, path = read(ROOT / "README.md"), checkpoint_path("tiny")
    num_values = sum(values.size for values in load_file(path).values())
    assert f"{num_values / 1e6:.1f} million parameters" in readme
    assert f"({path.stat().st_size / 1e6:.0f} MB)" in readme
    with safe_open(path, "np") as weights:
        metrics = json.loads(weights.metadata()["metrics"])
    make_table = runpy.run_path(str(DOCS / "scripts/make_model_card.py"))["make_table"]
    assert make_table(metrics) in readme


def test_the_benchmarks_page_lists_every_case() -> None:
    page = read(DOCS / "benchmarks.md")
    assert [case for case in CASES if f"`{case}`" not in page] == []
    assert page.index(BEGIN) < page.index(END)
