"""Label images by file ending, and errors before work begins."""

import errno
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import pytest
import tifffile
import zarr

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.image_file import ImageFile
from napari_promptable.files.images import open_image
from napari_promptable.files.label_images import check_label_path, write_labels


@pytest.fixture
def labels() -> np.ndarray:
    """Three slices with ids up to 299."""
    return np.random.default_rng(0).integers(0, 300, (3, 40, 50)).astype(np.uint32)


@pytest.fixture
def image(labels: np.ndarray) -> ImageFile:
    """The image of these labels, with pixel sizes."""
    scale, units = {"Z": 2.0, "Y": 0.5, "X": 0.25}, dict.fromkeys("ZYX", "µm")
    return ImageFile(labels, "ZYX", "stack.tif", "read as ZYX", scale, units)


@pytest.mark.parametrize(
    "name", ["labels.tif", "labels.ome.tiff", "a.ome.zarr", "a.zarr", "a.npy"]
)
def test_labels_are_read_back(
    name: str, labels: np.ndarray, image: ImageFile, tmp_path: Path
) -> None:
    path = tmp_path / name
    write_labels(path, labels, image)
    found = open_image(path)
    assert found.axes == "ZYX"
    assert found.data.dtype == np.uint16
    assert np.array_equal(np.asarray(found.data), labels)
    assert list(tmp_path.iterdir()) == [path]
    if not name.endswith(".npy"):
        assert found.scale == image.scale
        assert found.units == image.units


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_png(highest: int, dtype: type, tmp_path: Path) -> None:
    labels = np.array([[0, 1], [2, highest]])
    write_labels(tmp_path / "labels.png", labels)
    found = imageio.v3.imread(tmp_path / "labels.png")
    assert found.dtype == dtype
    assert np.array_equal(found, labels)


def test_ome_zarr_has_a_labels_group(labels: np.ndarray, tmp_path: Path) -> None:
    write_labels(tmp_path / "a.ome.zarr", labels)
    root = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    assert root["labels"].attrs["ome"] == {"version": "0.5", "labels": ["objects"]}
    described: Any = root["labels/objects"].attrs["ome"]
    assert "image-label" in described
    assert [axis["type"] for axis in described["multiscales"][0]["axes"]] == ["space"] * 3


def test_a_tiff_of_labels_is_ome(labels: np.ndarray, image: ImageFile, tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.tif", labels, image)
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata


@pytest.mark.parametrize(
    ("name", "shape", "highest", "problem"),
    [
        ("labels.jpg", (4, 5), 9, r"\.tif, \.ome\.zarr, \.png or \.npy"),
        ("labels", (4, 5), 9, r"\.tif, \.ome\.zarr, \.png or \.npy"),
        ("labels.png", (3, 4, 5), 9, "PNG holds one 2D image"),
        ("labels.png", (4, 5), 65_536, "ids up to 65535"),
        ("none/labels.tif", (4, 5), 9, "name a folder that exists"),
        ("folder.tif", (4, 5), 9, "is a folder"),
        ("a" * 300 + ".tif", (4, 5), 9, "name too long"),
    ],
)
def test_what_cannot_be_written_is_refused_beforehand(
    name: str, shape: tuple, highest: int, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(ImageFormatError, match=f"(?i){problem}"):
        check_label_path(tmp_path / name, shape, highest)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.tif"]


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, *_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere
    with pytest.raises(ImageFormatError, match="Permission denied.*may write to"):
        check_label_path(tmp_path / "labels.tif", (4, 5), 9)


@pytest.mark.parametrize("name", ["labels.tif", "a.ome.zarr", "a.npy", "a.png"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    is_folder = path.suffix == ".zarr"
    if not is_folder:
        write_labels(path, np.eye(30, dtype=int))
    monkeypatch.setattr("os.replace", fill_disk)
    with pytest.raises(ImageFormatError, match="No space left"):
        write_labels(path, np.zeros((30, 30), int))
    if not is_folder:
        assert np.array_equal(np.asarray(open_image(path).data), np.eye(30))
    assert list(tmp_path.iterdir()) == ([] if is_folder else [path])


def test_files_are_replaced_and_folders_are_not(tmp_path: Path) -> None:
    for name in ("labels.tif", "a.npy", "a.png", "a.ome.zarr"):
        write_labels(tmp_path / name, np.eye(30, dtype=int))
    for name in ("labels.tif", "a.npy", "a.png"):
        write_labels(tmp_path / name, 2 * np.eye(30, dtype=int))
        assert np.asarray(open_image(tmp_path / name).data).max() == 2
    with pytest.raises(ImageFormatError, match="exists already"):
        check_label_path(tmp_path / "a.ome.zarr", (30, 30), 2)


def fill_disk(*_args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class Watched:
    """Labels that note how much is read at once."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels, self.shape, self.most = labels, labels.shape, 0

    def __getitem__(self, region: Any) -> np.ndarray:
        part = self._labels[region]
        self.most = max(self.most, part.size)
        return part


@pytest.mark.parametrize("shape", [(40, 50), (2, 40, 50), (16, 64)])
def test_large_planes_are_written_in_squares(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_promptable.files.label_images.TILE", 16)
    monkeypatch.setattr("napari_promptable.files.label_images._MAX_WHOLE_SIDE", 32)
    labels = np.random.default_rng(0).integers(0, 70_000, shape).astype(np.uint32)
    watched = Watched(labels)
    write_labels(tmp_path / "labels.tif", watched)
    assert watched.most == 16 * 16
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.pages[0].tile == (16, 16)
        assert np.array_equal(file.asarray(), labels)


def test_a_zarr_group_is_written_in_bands(
    labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_promptable.files.ngff_labels._CHUNK", 16)
    monkeypatch.setattr("napari_promptable.files.label_images.TILE", 16)
    monkeypatch.setattr("napari_promptable.files.label_images._MAX_WHOLE_SIDE", 32)
    watched = Watched(labels)
    write_labels(tmp_path / "a.ome.zarr", watched)
    assert watched.most == 16 * 50
    assert np.array_equal(open_image(tmp_path / "a.ome.zarr").data[:], labels)
