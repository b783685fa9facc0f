"""File → Save and drag and drop for the formats of other programs, through npe2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.exchange import export_objects
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.gui.exchange import (
    get_coco_reader,
    get_regions_reader,
    get_tracks_reader,
    write_labels_layer,
)

PLUGIN = "napari-promptable"

pytestmark = pytest.mark.gui


@pytest.fixture
def labels() -> np.ndarray:
    """Two objects, one of them in two slices."""
    labels = np.zeros((3, 30, 40), np.uint16)
    labels[:2, 4:9, 5:15] = 3
    labels[2, 20:26, 30:38] = 8
    return labels


@pytest.mark.parametrize("name", ["cells.geojson", "cells.json", "cells.zip"])
def test_a_saved_layer_is_opened_on_its_image(
    name: str, labels: np.ndarray, make_napari_viewer, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros(labels.shape, np.uint8), scale=(2, 0.5, 0.5))
    features = {"index": [3, 8], "class": ["yeast", ""]}
    layer = viewer.add_labels(labels, scale=(2, 0.5, 0.5), features=features)
    path = str(tmp_path / name)
    assert layer.save(path, plugin=PLUGIN) == [path]
    [opened] = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(opened.data, labels)
    np.testing.assert_array_equal(opened.scale, layer.scale)
    assert opened.features.to_dict("list") == {"index": [3], "class": ["yeast"]}


def test_a_layer_is_saved_as_ome_zarr(
    labels: np.ndarray, make_napari_viewer, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    layer = viewer.add_labels(labels)
    path = tmp_path / "cells.zarr"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    assert (path / "labels" / "objects").is_dir()


def test_outlines_need_an_image(labels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "cells.geojson"
    export_objects(path, labels)
    read = get_regions_reader(str(path))
    with pytest.raises(ImageFormatError, match="open the image first"):
        read(str(path))


def test_outlines_lie_on_the_image_of_the_viewer_that_opens_them(
    labels: np.ndarray, tmp_path: Path
) -> None:
    PluginManager.instance().discover()
    path = tmp_path / "cells.geojson"
    export_objects(path, labels)
    for scale in (1.0, 0.5):
        viewer = ViewerModel()
        viewer.add_image(np.zeros(labels.shape, np.uint8), scale=(scale,) * 3)
        [opened] = viewer.open(path, plugin=PLUGIN)
        np.testing.assert_array_equal(opened.data, labels)
        np.testing.assert_array_equal(opened.scale, [scale] * 3)


def test_tracks_become_a_tracks_layer(labels: np.ndarray, tmp_path: Path) -> None:
    path = str(tmp_path / "cells.geff")
    meta = {"axis_labels": ("t", "y", "x"), "scale": (1.0, 0.5, 0.5)}
    write_labels_layer(path, labels, meta)
    [(data, options, kind)] = get_tracks_reader([path])([path])
    assert kind == "tracks" and options == {"name": "cells"}
    np.testing.assert_allclose(data[:, :2], [[3, 0], [3, 1], [8, 2]])
    np.testing.assert_allclose(data[2, 2:], [11.25, 16.75])


def test_axes_and_classes_of_the_layer_are_written(labels: np.ndarray, tmp_path: Path) -> None:
    path = str(tmp_path / "cells.json")
    meta = {
        "axis_labels": ("t", "y", "x"),
        "features": {"index": [0, 3], "class": [np.nan, "yeast"]},
    }
    write_labels_layer(path, labels, meta)
    content = json.loads(Path(path).read_text())
    assert content["info"]["axes"] == "TYX"
    assert {each["name"] for each in content["categories"]} == {"object", "yeast"}


def test_files_of_other_kinds_are_left_to_other_readers(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert get_coco_reader(str(other)) is None
    archive = tmp_path / "other.zip"
    archive.write_bytes(b"no zip")
    assert get_regions_reader(str(archive)) is None
    assert get_tracks_reader(str(other)) is None


def test_a_zip_of_regions_is_known(labels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "rois.zip"
    export_objects(path, LabelledObjects(labels, "ZYX"))
    assert get_regions_reader(str(path)) is not None
