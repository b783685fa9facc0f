"""Damaged, lying and impossible files: one line from the command, and nothing left behind."""

import errno
import io
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_promptable import cli
from napari_promptable.cli import auto, embed, segment

SHAPE = (40, 50)
PIXELS = np.random.default_rng(0).integers(0, 50, SHAPE).astype(np.uint8)
PIXELS[12:28, 17:33] += 150
Write = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _instant_model(monkeypatch, fake_segmenter) -> None:
    """A stand-in for the network: these tests are about files."""
    fake_segmenter.model_id = "fake"
    for command in (auto, embed, segment):
        monkeypatch.setattr(command, "load_model", lambda *_: fake_segmenter)


class Runner:
    """Segments a file with one click, and looks at what is said and left.

    Parameters
    ----------
    folder : Path
        Holds the inputs.
    capsys : CaptureFixture
        Captures what is printed.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.prompts, self._capsys = folder, folder / "prompts.json", capsys
        self.outputs = folder / "out"
        self.outputs.mkdir()

    def write_prompts(self, shape: tuple[int, ...], name: str = "image") -> None:
        """One click on the first plane."""
        count = len(shape) - 2
        plane = {"index": [0] * count, "points": [{"yx": [20, 25], "label": 1}]}
        content = {
            "format": "napari-promptable/prompts",
            "version": 1,
            "image": {"name": name, "shape": shape},
            "plane_axes": [count, count + 1],
            "model": "tiny",
            "objects": [{"id": 7, "planes": [plane]}],
        }
        self.prompts.write_text(json.dumps(content))

    def run(
        self, path: Path, output: str = "labels.npy", shape: tuple[int, ...] = SHAPE
    ) -> tuple[int, str]:
        """Returns the exit code and the last line on stderr."""
        self.write_prompts(shape)
        arguments = [path, self.prompts, "-o", self.outputs / output]
        code = cli.main(["segment", *map(str, arguments)])
        err = self._capsys.readouterr().err
        return code, err.splitlines()[-1] if err else ""

    def assert_refused(
        self, path: Path, *words: str, output: str = "labels.npy", shape: Any = SHAPE
    ) -> None:
        """One sentence that holds all words; no output and nothing half done."""
        code, last = self.run(path, output, shape)
        assert code == cli.MISTAKE
        assert last.startswith("napari-promptable: error: ")
        for word in words:
            assert word in last
        assert list(self.outputs.iterdir()) == []

    def assert_segmented(self, path: Path, output: str = "labels.npy") -> np.ndarray:
        """Exit code 0 and the object in the labels, which are returned."""
        code, last = self.run(path, output)
        assert (code, "error" in last) == (cli.DONE, False)
        labels = np.load(self.outputs / output)
        assert labels[20, 25] == 7
        return labels


@pytest.fixture
def runner(tmp_path, capsys) -> Runner:
    return Runner(tmp_path, capsys)


def tiff_bytes(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, **options)
    return file.getvalue()


def png_bytes() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def start_of(content: bytes, share: float) -> Write:
    return lambda path: path.write_bytes(content[: int(share * len(content))])


# not an image, or only a part of one


def write_header(shape: tuple[int, ...]) -> Write:
    """Declare an array of a shape, without any pixel."""

    def write(path: Path) -> None:
        header = {"descr": "<u2", "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)

    return write


def declare_a_large_tiff(path: Path) -> None:
    """A TIFF of one strip whose tags claim 60,000 × 60,000 pixels."""
    tifffile.imwrite(path, PIXELS)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            place = file.pages[0].tags[name].valueoffset
            content[place : place + 4] = struct.pack("<I", 60_000)
    path.write_bytes(content)


FILES: dict[str, tuple[Write, str]] = {
    "empty.tif": (start_of(b"", 1), "empty file"),
    "empty.png": (start_of(b"", 1), "empty file"),
    "empty": (start_of(b"", 1), "empty file"),
    "four-bytes.tif": (start_of(b"II*\0", 1), "incomplete"),
    "header.tif": (start_of(b"II*\0\x08\0\0\0", 1), "incomplete"),
    "half.tif": (start_of(tiff_bytes(), 0.5), "incomplete"),
    "nearly.tif": (start_of(tiff_bytes(), 0.999), "incomplete"),
    "zlib.tif": (start_of(tiff_bytes(compression="zlib"), 0.7), "damaged"),
    "lzw.tif": (start_of(tiff_bytes(compression="lzw"), 0.7), "damaged"),
    "half.png": (start_of(png_bytes(), 0.5), "incomplete"),
    "header.png": (start_of(png_bytes(), 0.02), "incomplete"),
    "png.tif": (start_of(png_bytes(), 1), "not a TIFF"),
    "tif.npy": (start_of(tiff_bytes(), 1), "not a NumPy file"),
    "noise.czi": (start_of(b"abc" * 40, 1), "another format"),
    "noise": (start_of(b"abc" * 40, 1), "another format"),
    "folder.tif": (lambda path: path.mkdir(), "a folder without an image"),
    "huge.tif": (declare_a_large_tiff, "incomplete"),
    "huge.npy": (write_header((10**6, 10**6)), "incomplete"),
    "impossible.npy": (write_header((10**15, 10**15)), "incomplete"),
    "half.npy": (write_header(SHAPE), "incomplete"),
    "point.npy": (lambda path: np.save(path, 3.0), "2 to 9 axes"),
    "none.npy": (lambda path: np.save(path, np.zeros((0, 50))), "and pixels"),
    "none-deep.npy": (lambda path: np.save(path, np.zeros((3, 40, 0))), "and pixels"),
    "records.npy": (lambda path: np.save(path, np.zeros(SHAPE, [("a", "u1")])), "dtype"),
    "words.npy": (lambda path: np.save(path, np.full(SHAPE, "a")), "dtype"),
    "complex.npy": (lambda path: np.save(path, PIXELS * 1j), "complex128"),
    "nan.npy": (lambda path: np.save(path, np.full(SHAPE, np.nan)), "no finite pixel"),
    "inf.npy": (lambda path: np.save(path, np.full(SHAPE, np.inf)), "no finite pixel"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_image_is_refused_in_one_line(name: str, runner: Runner) -> None:
    write, word = FILES[name]
    write(runner.folder / name)
    says_the_name = word not in ("dtype", "complex128", "no finite pixel")
    runner.assert_refused(runner.folder / name, word, *[name] * says_the_name)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("kind", ["array", "file"])
def test_pickles_are_never_loaded(kind: str, runner: Runner, monkeypatch) -> None:
    monkeypatch.chdir(runner.outputs)
    path = runner.folder / "image.npy"
    if kind == "array":
        np.save(path, np.array([[Bomb(), 1], [2, 3]], object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    runner.assert_refused(path, "image.npy")


# zarr folders


def make_array(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write an array, then change its metadata."""
    zarr.create_array(path, data=PIXELS, chunks=SHAPE)
    metadata = json.loads((path / "zarr.json").read_text())
    change(metadata)
    (path / "zarr.json").write_text(json.dumps(metadata))


def cut_chunk(path: Path) -> None:
    zarr.create_array(path, data=PIXELS, chunks=SHAPE)
    chunk = path / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])


def lose_metadata(path: Path) -> None:
    make_array(path, lambda _: None)
    (path / "zarr.json").unlink()


def make_group(**attributes: Any) -> Write:
    """Write a group of version 0.4 with the array "0"."""

    def write(path: Path) -> None:
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.attrs.update(attributes)
        group.create_array("0", data=PIXELS)

    return write


def levels(*paths: str) -> list[dict[str, Any]]:
    axes = [{"name": name, "type": "space"} for name in "yx"]
    return [{"axes": axes, "datasets": [{"path": path} for path in paths]}]


FOLDERS: dict[str, tuple[Write, str]] = {
    "empty.zarr": (lambda path: path.mkdir(), "without an image"),
    "no-metadata.zarr": (lose_metadata, "without an image"),
    "no-shape.zarr": (lambda path: make_array(path, lambda m: m.pop("shape")), "'shape'"),
    "codec.zarr": (
        lambda path: make_array(path, lambda m: m.update(codecs=[{"name": "x"}])),
        "Unknown codec",
    ),
    "cut-chunk.zarr": (cut_chunk, "damaged or incomplete"),
    "no-levels.zarr": (make_group(multiscales=[]), "metadata"),
    "words.zarr": (make_group(multiscales="words"), "metadata"),
    "lost-level.zarr": (make_group(multiscales=levels("0", "1")), "KeyError('1')"),
    "plate.zarr": (make_group(plate={"rows": 1}), "metadata"),
    "well.zarr": (make_group(well={"images": []}), "metadata"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_broken_zarr_folders_are_refused_in_one_line(name: str, runner: Runner) -> None:
    write, word = FOLDERS[name]
    write(runner.folder / name)
    runner.assert_refused(runner.folder / name, name, word)


def test_a_declared_shape_without_data_is_not_allocated(runner: Runner) -> None:
    shape = (10**6, 10**6)
    path = runner.folder / "huge.zarr"
    zarr.create_array(path, shape=shape, chunks=(1024, 1024), dtype="u1")
    runner.assert_refused(path, "huge.zarr", "too large to be read at once", shape=shape)


@pytest.mark.parametrize("names", ["ab", "cyx", "yy"])
def test_axes_that_do_not_fit_are_guessed_and_said(names: str, runner: Runner, capsys) -> None:
    image = levels("0")
    image[0]["axes"] = [{"name": name} for name in names]
    make_group(multiscales=image)(runner.folder / "image.zarr")
    runner.write_prompts(SHAPE)
    arguments = [runner.folder / "image.zarr", runner.prompts, "-o", runner.outputs / "l.tif"]
    assert cli.main(["segment", *map(str, arguments)]) == cli.DONE
    said = f"read as YX by its shape, which its axes {names.upper()} do not fit"
    assert said in capsys.readouterr().err


# values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_some_impossible_values_do_not_matter(value: float, runner: Runner) -> None:
    pixels = PIXELS.astype(float)
    pixels[0, :5] = value
    np.save(runner.folder / "image.npy", pixels)
    runner.assert_segmented(runner.folder / "image.npy")


# names and links


def test_long_and_foreign_names(runner: Runner) -> None:
    for name in ("n" * 246 + ".npy", "with blank µ 图 é\u0301 🙂.npy", "-o.npy", "%s{0}.npy"):
        np.save(runner.folder / name, PIXELS)
        runner.assert_segmented(runner.folder / name, name)


def test_a_long_name_of_no_file(runner: Runner) -> None:
    for length in (250, 300):
        runner.assert_refused(runner.folder / ("x" * length + ".tif"), "x" * length)


@pytest.mark.parametrize("ending", [".tif", ".ome.zarr"])
def test_a_name_that_no_disk_takes_is_refused(ending: str, runner: Runner) -> None:
    np.save(runner.folder / "image.npy", PIXELS)
    code, last = runner.run(runner.folder / "image.npy", "o" * 300 + ending)
    assert (code, "shorter name" in last) == (cli.MISTAKE, True)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
def test_links_that_lead_nowhere(runner: Runner) -> None:
    one, two, gone = (runner.folder / name for name in ("one.tif", "two.tif", "gone.tif"))
    one.symlink_to(two)
    two.symlink_to(one)
    gone.symlink_to(runner.folder / "nothing")
    itself = runner.folder / "itself.zarr"
    itself.symlink_to(runner.folder, target_is_directory=True)
    for path in (one, gone):
        runner.assert_refused(path, path.name, "check the path")
    runner.assert_refused(itself, "itself.zarr", "a folder without an image")
    np.save(runner.folder / "image.npy", PIXELS)
    runner.assert_refused(
        runner.folder / "image.npy", "one.tif", "may write to", output="../one.tif/labels.npy"
    )


# folders and disks that take nothing

OUTPUTS = ("labels.tif", "labels.ome.zarr", "labels.npy", "labels.png")


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let writes fail, for real, where a file would get larger."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_disk_that_is_full_halfway(output: str, runner: Runner) -> None:
    np.save(runner.folder / "image.npy", PIXELS)
    runner.run(runner.folder / "image.npy")  # imports what it needs
    (runner.outputs / "labels.npy").unlink()
    with largest_file(60):
        runner.write_prompts = lambda _: None  # type: ignore[method-assign]
        runner.assert_refused(
            runner.folder / "image.npy", output, "File too large", output=output
        )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EROFS, "that you may write to"), (errno.ENOSPC, "free some space")],
)
def test_a_folder_that_takes_nothing(
    output: str, number: int, advice: str, runner: Runner, monkeypatch
) -> None:
    np.save(runner.folder / "image.npy", PIXELS)
    open_file, make_folder = os.open, os.mkdir

    def refuse(call: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(path: Any, *args: Any, **options: Any) -> Any:
            if Path(path).parent == runner.outputs:
                raise OSError(number, os.strerror(number), str(path))
            return call(path, *args, **options)

        return refusing

    monkeypatch.setattr(os, "open", refuse(open_file))  # root may write everywhere
    monkeypatch.setattr(os, "mkdir", refuse(make_folder))
    runner.assert_refused(
        runner.folder / "image.npy", output, os.strerror(number), advice, output=output
    )


def test_a_cache_on_a_full_disk_is_one_sentence_and_resumes(runner: Runner, capsys) -> None:
    np.save(runner.folder / "stack.npy", np.stack([PIXELS, PIXELS.T.reshape(SHAPE)]))
    arguments = ["embed", str(runner.folder / "stack.npy"), "-o"]
    assert cli.main([*arguments, str(runner.folder / "other.zarr")]) == cli.DONE
    with largest_file(500):
        assert cli.main([*arguments, str(runner.outputs / "cache.zarr")]) == cli.MISTAKE
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("napari-promptable: error: the embedding cache")
    assert "File too large" in last
    assert os.listdir(runner.outputs / "cache.zarr") == ["zarr.json"]
    assert cli.main([*arguments, str(runner.outputs / "cache.zarr")]) == cli.DONE
    assert "2 planes encoded" in capsys.readouterr().out


# several channels: prompts of a layer find its channel


@pytest.mark.parametrize("name", ["cells [2]", "cells.tif GFP"])
@pytest.mark.parametrize("axes", ["CYX", "ZCYX"])
def test_prompts_of_one_channel_find_it(name: str, axes: str, runner: Runner) -> None:
    dark = np.zeros_like(PIXELS)
    pixels = np.stack([dark, dark + 9, PIXELS, dark + 5])
    pixels = pixels if axes == "CYX" else np.stack([pixels, pixels])
    shape = (*pixels.shape[: len(axes) - 3], *SHAPE)
    names = {"Channel": {"Name": ["DAPI", "RFP", "GFP", "Cy5"]}}
    path = runner.folder / "cells.ome.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes, **names})
    np.save(runner.folder / "alone.npy", PIXELS)
    alone = runner.assert_segmented(runner.folder / "alone.npy", "alone.npy")
    runner.write_prompts(shape, name)
    arguments = [path, runner.prompts, "-o", runner.outputs / "labels.npy"]
    assert cli.main(["segment", *map(str, arguments)]) == cli.DONE
    labels = np.load(runner.outputs / "labels.npy")
    np.testing.assert_array_equal(labels[(0,) * (labels.ndim - 2)], alone)
