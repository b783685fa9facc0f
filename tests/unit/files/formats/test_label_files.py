"""Label images with what their image and the saved session know about the objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.exchange import export_objects, import_objects
from napari_promptable.files.formats.label_files import open_labels
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.files.prompts_json import PromptDocument, write_prompts
from napari_promptable.prompts import PlanePrompts


@pytest.fixture
def labels_path(tmp_path: Path) -> Path:
    """Three planes of 20 × 30 without any metadata."""
    labels = np.zeros((3, 20, 30), np.uint16)
    labels[:, 4:9, 5:12] = 6
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    return tmp_path / "labels.tif"


def test_axes_may_be_named(labels_path: Path) -> None:
    assert open_labels(labels_path).axes == "ZYX"
    assert open_labels(labels_path, "tyx").axes == "TYX"


def test_axes_and_pixel_sizes_come_from_the_image(labels_path: Path, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "movie.ome.tif",
        np.zeros((3, 2, 20, 30), np.uint8),
        ome=True,
        metadata={"axes": "TCYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3},
    )
    found = open_labels(labels_path, image=tmp_path / "movie.ome.tif")
    assert (found.axes, found.scale, found.unit) == ("TYX", (1.0, 0.3, 0.3), "micrometer")
    assert found.image_name == "movie.ome.tif"


def test_an_image_of_another_shape_is_refused(labels_path: Path, tmp_path: Path) -> None:
    other = np.zeros((3, 20, 31), np.uint8)
    tifffile.imwrite(tmp_path / "other.tif", other, photometric="minisblack")
    with pytest.raises(ImageFormatError, match="labels were made on"):
        open_labels(labels_path, image=tmp_path / "other.tif")


def test_a_picture_is_no_label_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((40, 50, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "real.tif", np.zeros((40, 50), np.float32))
    for name in ("rgb.tif", "real.tif"):
        with pytest.raises(ImageFormatError, match="labels are whole numbers"):
            open_labels(tmp_path / name)


def test_classes_and_confidences_come_from_the_prompts(
    labels_path: Path, tmp_path: Path
) -> None:
    slices = [{"index": [1], "confidence": 0.75}, {"index": [2], "confidence": None}]
    document = PromptDocument(
        "movie.tif",
        (3, 20, 30),
        (1, 2),
        "tiny",
        {6: {(1,): PlanePrompts([[6, 7]], [1])}},
        object_extra={6: {"class": "yeast", "slices": slices}},
        class_colors={"yeast": "#0072b2"},
    )
    write_prompts(document, tmp_path / "prompts.json")
    found = open_labels(labels_path, prompts=tmp_path / "prompts.json")
    assert found.class_names == {6: "yeast"}
    assert found.class_colors == {"yeast": (0, 114, 178)}
    assert found.confidence == {(6, (1,)): 0.75}


@pytest.mark.parametrize("name", ["out.tif", "out.npy", "out.ome.zarr"])
def test_label_images_come_back(name: str, labels_path: Path, tmp_path: Path) -> None:
    objects = open_labels(labels_path, "TYX")
    export_objects(tmp_path / name, objects)
    found = import_objects(tmp_path / name, (3, 20, 30), "TYX")
    np.testing.assert_array_equal(found.labels, objects.labels)


@pytest.mark.parametrize("shape", [(5,), (1, 1, 1, 1, 4, 4)])
def test_labels_have_two_to_five_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match="2 to 5 axes"):
        LabelledObjects(np.zeros(shape, int))


def test_axes_fit_the_labels() -> None:
    with pytest.raises(ImageFormatError, match="name each axis by a letter"):
        LabelledObjects(np.zeros((3, 4, 5), int), "YX")
