import numpy as np
import pytest
import tifffile
import zarr

from napari_promptable.errors import ImageFormatError
from napari_promptable.evaluation.labelled_images import LabelledFile, find_labelled_files


def write(path, shape=(8, 9), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.ones(shape, dtype))
    return path


def names(files: list[LabelledFile]) -> list[tuple[str, str]]:
    return [(file.image_path.name, file.label_path.name) for file in files]


def test_two_files_are_a_pair(tmp_path) -> None:
    image, labels = write(tmp_path / "a.tif"), write(tmp_path / "b.tif")
    assert find_labelled_files(image, labels) == [LabelledFile("", image, labels)]


def test_endings_pair_files_of_one_folder(tmp_path) -> None:
    for name in ("b_img.tif", "b_lbl.tif", "a_img.tif", "a_lbl.tif", "c_img.tif", "notes.txt"):
        write(tmp_path / name)
    found = names(find_labelled_files(tmp_path, tmp_path))
    assert found == [("a_img.tif", "a_lbl.tif"), ("b_img.tif", "b_lbl.tif")]


def test_names_pair_files_of_two_folders(tmp_path) -> None:
    for name in ("images/a.tif", "images/b.tif", "labels/a.tif", "labels/b.tiff"):
        write(tmp_path / name)
    found = names(find_labelled_files(tmp_path / "images", tmp_path / "labels"))
    assert found == [("a.tif", "a.tif"), ("b.tif", "b.tiff")]


@pytest.fixture
def listed(tmp_path):
    """Folder with a manifest of two datasets."""
    write(tmp_path / "x/1.tif")
    write(tmp_path / "x/2.tif")
    (tmp_path / "manifest.csv").write_text(
        "file,label,dataset,split\nx/1.tif,x/2.tif,first,train\nx/2.tif,x/1.tif,second,val\n"
    )
    return tmp_path


def test_a_manifest_tells_the_pairs(listed) -> None:
    first, second = find_labelled_files(listed, listed)
    assert (first.dataset, second.dataset) == ("first", "second")
    assert names([second]) == [("2.tif", "1.tif")]
    assert find_labelled_files(listed, listed, split="val") == [second]


@pytest.mark.parametrize(
    ("break_it", "split", "problem"),
    [
        (lambda folder: None, "test", r"no image in split 'test'; it has: train, val"),
        (lambda folder: (folder / "manifest.csv").unlink(), "val", r"no manifest\.csv"),
        (lambda folder: (folder / "manifest.csv").unlink(), None, r"_img\.EXT"),
        (
            lambda folder: (folder / "manifest.csv").write_text("image,mask\na,b\n"),
            None,
            "no columns named file and label",
        ),
    ],
)
def test_what_is_not_found_is_told(listed, break_it, split, problem) -> None:
    break_it(listed)
    with pytest.raises(ImageFormatError, match=problem):
        find_labelled_files(listed, listed, split)


def test_a_missing_folder_is_told(tmp_path) -> None:
    with pytest.raises(ImageFormatError, match="absent"):
        find_labelled_files(tmp_path / "absent", tmp_path)


@pytest.mark.parametrize(
    ("image_shape", "label_shape", "plane_shapes"),
    [
        ((8, 9), (8, 9), {"a.tif": (8, 9)}),
        ((8, 9, 3), (8, 9), {"a.tif": (8, 9, 3)}),
        ((2, 8, 9), (2, 8, 9), {"a.tif[0]": (8, 9), "a.tif[1]": (8, 9)}),
    ],
)
def test_planes_are_read_one_by_one(tmp_path, image_shape, label_shape, plane_shapes) -> None:
    file = LabelledFile(
        "", write(tmp_path / "a.tif", image_shape), write(tmp_path / "l.tif", label_shape)
    )
    found = {name: image.shape for name, image, labels in file.planes()}
    assert found == plane_shapes
    assert all(labels.shape == (8, 9) for _, _, labels in file.planes())


@pytest.mark.parametrize(
    ("label_shape", "dtype", "problem"),
    [
        ((8, 8), np.uint8, r"shape \(8, 9\).*\(8, 8\)"),
        ((8, 9), np.float32, "whole numbers"),
        ((9,), np.uint8, r"l\.tif has shape \(9,\); an image needs 2 to 9 axes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, label_shape, dtype, problem) -> None:
    labels = write(tmp_path / "l.tif", label_shape, dtype)
    file = LabelledFile("", write(tmp_path / "a.tif"), labels)
    with pytest.raises(ImageFormatError, match=problem):
        next(file.planes())


def test_a_stack_on_disk_is_read_plane_by_plane(tmp_path, monkeypatch) -> None:
    for name in ("image.zarr", "labels.zarr"):
        zarr.create_array(tmp_path / name, data=np.ones((6, 32, 32), np.uint8))
    sizes = []
    read = zarr.Array.__getitem__

    def note(array: zarr.Array, region) -> np.ndarray:
        part = read(array, region)
        sizes.append(np.size(part))
        return part

    monkeypatch.setattr(zarr.Array, "__getitem__", note)
    file = LabelledFile("", tmp_path / "image.zarr", tmp_path / "labels.zarr")
    assert len(list(file.planes())) == 6
    assert set(sizes) == {32 * 32}


def test_axes_and_channel_are_those_that_the_user_names(tmp_path) -> None:
    image = np.stack([np.full((8, 9), channel, np.uint8) for channel in range(5)])
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "labels.npy", np.ones((8, 9), np.uint8))
    paths = tmp_path / "image.npy", tmp_path / "labels.npy"
    [file] = find_labelled_files(*paths, axes="CYX", channel=3)
    [(_, plane, _)] = file.planes()
    assert (plane == 3).all()
    [file] = find_labelled_files(*paths, axes="ZYX")
    with pytest.raises(ImageFormatError, match=r"has shape \(5, 8, 9\)"):
        next(file.planes())
