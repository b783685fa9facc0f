"""Labels in OME-Zarr: round trips, and the demands of the specification."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import numpy as np
import pytest
import zarr

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.exchange import export_objects, import_objects
from napari_promptable.files.formats.label_files import open_labels
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.files.images import read_image

_SCALE = {
    "type": "object",
    "properties": {
        "type": {"enum": ["scale", "translation"]},
        "scale": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["type"],
}
LABEL_SCHEMA = {
    "type": "object",
    "properties": {
        "multiscales": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "axes": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 5,
                        "items": {
                            "type": "object",
                            "properties": {"type": {"enum": ["time", "space", "channel"]}},
                            "required": ["name", "type"],
                        },
                    },
                    "datasets": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "properties": {
                                "path": {"type": "string"},
                                "coordinateTransformations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 2,
                                    "items": _SCALE,
                                },
                            },
                            "required": ["path", "coordinateTransformations"],
                        },
                    },
                },
                "required": ["axes", "datasets"],
            },
        },
        "image-label": {
            "type": "object",
            "properties": {
                "colors": {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": {
                        "type": "object",
                        "properties": {
                            "label-value": {"type": "integer"},
                            "rgba": {
                                "type": "array",
                                "minItems": 4,
                                "maxItems": 4,
                                "items": {"type": "integer", "minimum": 0, "maximum": 255},
                            },
                        },
                        "required": ["label-value"],
                    },
                },
                "properties": {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": {"type": "object", "required": ["label-value"]},
                },
                "source": {
                    "type": "object",
                    "properties": {"image": {"type": "string"}},
                },
            },
        },
    },
    "required": ["multiscales", "image-label"],
}
"""Rules of OME-Zarr for the metadata of a label image, written as the specification does."""


@pytest.fixture
def cells() -> LabelledObjects:
    """Two objects in three slices of 24 × 32, with all the facts that there may be."""
    labels = np.zeros((3, 24, 32), np.uint16)
    labels[:, 2:10, 3:15] = 4
    labels[1, 12:20, 20:30] = 70_000 % 65_536
    return LabelledObjects(
        labels,
        "ZYX",
        (2.0, 0.5, 0.25),
        "micrometer",
        "stack.tif",
        class_names={4: "nucleus"},
        class_colors={"nucleus": (0, 114, 178)},
        confidence={(4, (0,)): 0.9, (4, (2,)): 0.5},
    )


def make_image(path: Path, zarr_format: int) -> None:
    """An OME-Zarr image of two channels and two resolutions."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name, shape in (("0", (2, 3, 24, 32)), ("1", (2, 3, 12, 16))):
        group.create_array(name, shape=shape, dtype=np.uint8)
    axes = [
        {"name": "c", "type": "channel"},
        *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
    ]
    datasets = [
        {
            "path": name,
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, 2.0, 0.5 * factor, 0.25 * factor]},
                {"type": "translation", "translation": [0.0, 0.0, shift, shift / 2]},
            ],
        }
        for name, factor, shift in (("0", 1, 0.0), ("1", 2, 0.25))
    ]
    image = {"axes": axes, "datasets": datasets}
    if zarr_format == 2:
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


def read_metadata(group: zarr.Group) -> dict:
    """Metadata of a label image, checked by the schema."""
    attributes = group.attrs.get("ome", dict(group.attrs))
    jsonschema.validate(attributes, LABEL_SCHEMA)
    return attributes


def test_everything_comes_back(cells: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.zarr"
    export_objects(path, cells)
    found = open_labels(path)
    np.testing.assert_array_equal(np.asarray(found.labels), cells.labels)
    assert (found.axes, found.scale, found.unit) == (cells.axes, cells.scale, cells.unit)
    assert found.class_names == cells.class_names
    assert found.class_colors == cells.class_colors
    assert found.confidence == cells.confidence
    assert list(tmp_path.iterdir()) == [path]


def test_the_metadata_keep_the_rules(cells: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.zarr"
    export_objects(path, cells)
    group = zarr.open_group(path, mode="r")
    assert group["labels"].attrs["ome"] == {"version": "0.5", "labels": ["objects"]}
    attributes = read_metadata(group["labels/objects"])
    assert attributes["version"] == "0.5"
    assert attributes["image-label"]["colors"] == [
        {"label-value": 4, "rgba": [0, 114, 178, 255]}
    ]
    values = [entry["label-value"] for entry in attributes["image-label"]["properties"]]
    assert values == [4, 4464]
    assert group["labels/objects/0"].metadata.dimension_names == ("z", "y", "x")


def test_a_group_of_labels_opens_as_an_image(cells: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "labels.ome.zarr"
    export_objects(path, cells)
    [shown] = zarr.open_group(path, mode="r").attrs["ome"]["multiscales"]
    assert shown["datasets"][0]["path"] == "labels/objects/0"
    np.testing.assert_array_equal(np.asarray(read_image(path)), cells.labels)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_join_an_image_at_its_resolutions(
    zarr_format: int, cells: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / "image.ome.zarr"
    make_image(path, zarr_format)
    export_objects(path, cells)
    group = zarr.open_group(path, mode="r")["labels/objects"]
    attributes = read_metadata(group)
    assert attributes["image-label"]["source"] == {"image": "../../"}
    [image] = attributes["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["z", "y", "x"]
    lower = image["datasets"][1]["coordinateTransformations"]
    assert lower[0]["scale"] == [2.0, 1.0, 0.5]
    assert lower[1]["translation"] == [0.0, 0.25, 0.125]
    np.testing.assert_array_equal(group["0"][:], cells.labels)
    np.testing.assert_array_equal(group["1"][:], cells.labels[:, 1::2, 1::2])
    np.testing.assert_array_equal(
        import_objects(path, cells.labels.shape, "ZYX").labels, cells.labels
    )


def test_labels_of_the_same_name_are_kept(cells: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    make_image(path, 3)
    export_objects(path, cells)
    other = LabelledObjects(np.ones_like(cells.labels), "ZYX")
    with pytest.raises(ImageFormatError, match="exists already"):
        export_objects(path, other)
    np.testing.assert_array_equal(np.asarray(open_labels(path).labels), cells.labels)


def test_an_image_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    make_image(path, 3)
    with pytest.raises(ImageFormatError, match=r"\(3, 24, 32\) without channels"):
        export_objects(path, np.zeros((24, 32), np.uint8))
    assert not (path / "labels").exists()


def test_one_of_several_labels_has_to_be_chosen(tmp_path: Path) -> None:
    labels = zarr.open_group(tmp_path / "image.zarr", mode="w").create_group("labels")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["nuclei", "cells"]}
    with pytest.raises(ImageFormatError, match="nuclei, cells"):
        open_labels(tmp_path / "image.zarr")
