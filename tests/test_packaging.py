"""Promises of the distribution: requirements, manifest, files in the wheel and the sdist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import entry_points, packages_distributions, requires, version
from pathlib import Path

import pytest
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import napari_promptable

pytestmark = pytest.mark.slow

NAME = "napari-promptable"
ROOT = Path(__file__).parents[1]
QT_BINDINGS = {"pyqt5", "pyqt6", "pyside2", "pyside6"}
UPPER_BOUNDS = {"<", "<=", "==", "===", "~="}


@pytest.fixture(scope="module")
def requirements() -> dict[str, Requirement]:
    """Mandatory requirements by name."""
    all_requirements = [Requirement(line) for line in requires(NAME) or ()]
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in all_requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }


@pytest.fixture(scope="module")
def root_manifest() -> PluginManifest:
    """The manifest of the source tree."""
    return PluginManifest.from_file(ROOT / "napari.yaml")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a new wheel and a new sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist"]
    subprocess.run([*command, "-d", folder], cwd=ROOT, check=True, capture_output=True)
    return folder


def source_names(*folders: str) -> set[str]:
    """Paths of the files below some folders of the source tree, caches left out."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def test_no_qt_binding_is_required(requirements: dict[str, Requirement]) -> None:
    assert not QT_BINDINGS & requirements.keys()
    assert not any(requirement.extras for requirement in requirements.values())


@pytest.mark.parametrize("name", ["napari", "torch", "numpy"])
def test_versions_have_no_upper_bound(name: str, requirements: dict[str, Requirement]) -> None:
    operators = {specifier.operator for specifier in requirements[name].specifier}
    assert not operators & UPPER_BOUNDS


def test_every_import_is_required() -> None:
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    homes = packages_distributions()
    needed = {
        canonicalize_name(homes.get(name, [name])[0])
        for name in imported - sys.stdlib_module_names - {"napari_promptable"}
    }
    stated = {canonicalize_name(Requirement(line).name) for line in requires(NAME) or ()}
    assert needed <= stated


def test_extra_all_brings_a_qt_binding_by_way_of_napari() -> None:
    all_requirements = [Requirement(line) for line in requires(NAME) or ()]
    extra = [r for r in all_requirements if r.marker and r.marker.evaluate({"extra": "all"})]
    assert [(r.name, r.extras) for r in extra] == [("napari", {"all"})]


def test_version_is_that_of_the_distribution() -> None:
    assert napari_promptable.__version__ == version(NAME)
    assert re.search(
        rf'^version = "{re.escape(version(NAME))}"$',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    ), "the environment is out of date: run `make env`"


def test_installed_manifest_is_that_of_the_source_tree(root_manifest: PluginManifest) -> None:
    installed = PluginManifest.from_distribution(NAME)
    exclude = {"package_metadata"}
    assert installed.model_dump(exclude=exclude) == root_manifest.model_dump(exclude=exclude), (
        "the environment is out of date: run `make env`"
    )


def test_manifest_has_the_name_of_the_distribution(root_manifest: PluginManifest) -> None:
    assert root_manifest.name == NAME


def test_every_command_of_the_manifest_can_be_imported(root_manifest: PluginManifest) -> None:
    commands = root_manifest.contributions.commands
    assert commands
    for command in commands:
        assert command.python_name is not None
        assert callable(import_python_name(command.python_name)), command.id


def test_script_can_be_imported() -> None:
    (script,) = entry_points(group="console_scripts", name=NAME)
    assert callable(script.load())


def test_wheel_holds_package_assets_and_manifest(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        manifest = wheel.read("napari_promptable_manifest/napari.yaml")
    expected = {name.removeprefix("src/") for name in source_names("src/napari_promptable")}
    info = f"napari_promptable-{version(NAME)}.dist-info"
    assert manifest == (ROOT / "napari.yaml").read_bytes()
    assert {name for name in names if not name.startswith(info)} == {
        *expected,
        "napari_promptable_manifest/napari.yaml",
    }
    assert f"{info}/licenses/LICENSE" in names


def test_sdist_holds_what_tests_and_builds_need(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    files = {"pyproject.toml", "napari.yaml", "README.md", "LICENSE", "Makefile"}
    assert files | source_names("src", "tests", "training") <= names
    assert not any(name.endswith((".pth", ".pt", ".zarr")) for name in names)
