import imageio.v3
import numpy as np
import pytest
import tifffile
import zarr

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.images import read_image
from napari_promptable.files.label_images import write_labels
from napari_promptable.files.lazy_view import ArrayInFile
from napari_promptable.files.writing import write_png


@pytest.fixture
def ramp() -> np.ndarray:
    return np.arange(60, dtype=np.uint8).reshape(6, 10)


def test_tiff_png_and_zarr_are_read(ramp, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "ramp.tif", ramp)
    imageio.v3.imwrite(tmp_path / "ramp.png", ramp)
    zarr.save_array(tmp_path / "ramp.zarr", ramp)
    for name in ("ramp.tif", "ramp.png", "ramp.zarr"):
        assert np.array_equal(read_image(tmp_path / name), ramp)


def test_full_resolution_of_ome_zarr_is_read(ramp, tmp_path) -> None:
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    group.create_array("0", data=ramp)
    group.create_array("1", data=ramp[::2, ::2])
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}, {"path": "1"}]}]
    assert read_image(tmp_path / "image.zarr").shape == ramp.shape
    group.attrs.clear()
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "1"}]}]}
    assert read_image(tmp_path / "image.zarr").shape == ramp[::2, ::2].shape


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_large_tiffs_are_read_part_by_part(options, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_promptable.files.tiff._MAX_BYTES_IN_MEMORY", 0)
    stack = np.random.default_rng(0).integers(0, 9, (5, 40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", **options)
    image = read_image(tmp_path / "stack.tif")
    assert image.shape == stack.shape
    assert isinstance(image, np.memmap | ArrayInFile)
    assert np.array_equal(image[3], stack[3])
    assert np.array_equal(image[:, 7, 4:30], stack[:, 7, 4:30])


@pytest.mark.parametrize("shape", [(3, 7, 9), (2, 4, 7, 9), (7, 9, 3), (9, 4)])
def test_labels_of_any_kind_and_shape_are_written(shape, tmp_path) -> None:
    labels = np.random.default_rng(0).integers(0, 300, shape).astype(np.uint32)
    for kind in (labels, zarr.create_array(tmp_path / "a.zarr", data=labels)):
        write_labels(tmp_path / "labels.tif", kind)
        read = tifffile.imread(tmp_path / "labels.tif")
        assert read.dtype == np.uint16
        assert np.array_equal(read, labels)


@pytest.mark.parametrize("name", ["text.tif", "text.png", "text.xyz", "folder", "none.tif"])
def test_what_is_no_image_is_refused_by_name(name, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    for text in ("text.tif", "text.png", "text.xyz"):
        (tmp_path / text).write_text("no image")
    with pytest.raises(ImageFormatError, match=name):
        read_image(tmp_path / name)


@pytest.mark.parametrize(("highest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_labels_keep_their_ids(highest, dtype, tmp_path) -> None:
    labels = np.array([[0, 1], [2, highest]])
    write_labels(tmp_path / "labels.tif", labels)
    read = tifffile.imread(tmp_path / "labels.tif")
    assert read.dtype == dtype
    assert np.array_equal(read, labels)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch) -> None:
    path = tmp_path / "labels.tif"
    write_labels(path, np.eye(3, dtype=int))
    before = path.read_bytes()

    def fail(file, *_args, **_kwargs) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(ImageFormatError, match="No space left"):
        write_labels(path, np.zeros((3, 3), int))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(ImageFormatError, match="folder that exists"):
        write_png(tmp_path / "none" / "a.png", np.zeros((3, 3, 3), np.uint8))
