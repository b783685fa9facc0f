"""Measurements against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.measurement.measure import measure_objects
from napari_promptable.measurement.tables import write_table


@pytest.fixture
def two_boxes() -> LabelledObjects:
    """Boxes 3 and 70000 in two slices of 0.5 µm pixels, 2 µm apart."""
    labels = np.zeros((2, 10, 12), np.uint32)
    labels[:, 1:5, 2:8] = 3
    labels[1, 6:9, 0:3] = 70_000
    return LabelledObjects(
        labels,
        "ZYX",
        (2.0, 0.5, 0.5),
        "micrometer",
        class_names={3: "nucleus"},
        confidence={(3, (0,)): 0.9, (3, (1,)): 0.7},
    )


def test_volumes_are_in_physical_units(two_boxes: LabelledObjects) -> None:
    table = measure_objects(two_boxes)
    assert table["object_id"].tolist() == [3, 70_000]
    assert table["class"].tolist() == ["nucleus", "object"]
    assert table["num_pixels"].tolist() == [48, 9]
    assert table["volume"].tolist() == [24.0, 4.5]
    first = table.iloc[0]
    assert (first["centroid_z"], first["centroid_y"], first["centroid_x"]) == (1.0, 1.25, 2.25)
    assert first["confidence"] == 0.7
    assert np.isnan(table["confidence"][1])


def test_slices_are_measured_one_by_one(two_boxes: LabelledObjects) -> None:
    table = measure_objects(two_boxes, per_slice=True)
    assert table[["object_id", "z"]].to_numpy().tolist() == [[3, 0], [3, 1], [70_000, 1]]
    assert table["area"].tolist() == [6.0, 6.0, 2.25]
    assert table["confidence"].tolist()[:2] == [0.9, 0.7]


def test_frames_of_a_time_series_are_separate() -> None:
    labels = np.zeros((3, 8, 8), int)
    labels[0, :2, :2] = labels[2, :3, :3] = 5
    table = measure_objects(LabelledObjects(labels, "TYX"))
    assert table[["t", "object_id", "num_pixels"]].to_numpy().tolist() == [[0, 5, 4], [2, 5, 9]]


def test_intensities_of_one_channel(two_boxes: LabelledObjects) -> None:
    image = np.broadcast_to(np.arange(12.0), two_boxes.labels.shape)
    table = measure_objects(two_boxes, image)
    assert table["intensity_mean"].tolist() == [4.5, 1.0]
    assert table["intensity_max"].tolist() == [7.0, 2.0]


def test_intensities_of_several_channels(two_boxes: LabelledObjects) -> None:
    image = np.zeros((2, 3, 10, 12))  # Z, C, Y, X
    image[:, 1] = 4
    table = measure_objects(two_boxes, image, channel_axis=1)
    assert table["intensity_mean_0"].tolist() == [0.0, 0.0]
    assert table["intensity_mean_1"].tolist() == [4.0, 4.0]


def test_channels_can_have_names_and_are_read_block_by_block(two_boxes) -> None:
    blocks: list[tuple] = []

    class Lazy:
        shape = two_boxes.labels.shape

        def __getitem__(self, region):
            blocks.append(region)
            return np.full(self.shape, 7.0)[region]

    channels = {"DAPI": np.zeros(Lazy.shape), "GFP": Lazy()}
    table = measure_objects(two_boxes, channels, per_slice=True)
    assert table["intensity_mean_DAPI"].tolist() == [0.0] * 3
    assert table["intensity_max_GFP"].tolist() == [7.0] * 3
    assert [region[0] for region in blocks] == [0, 1]


def test_an_image_of_another_shape_is_refused(two_boxes: LabelledObjects) -> None:
    with pytest.raises(ImageFormatError, match=r"\(10, 12\).*\(2, 10, 12\)"):
        measure_objects(two_boxes, np.zeros((10, 12)))


def test_labels_without_objects_give_an_empty_table() -> None:
    table = measure_objects(LabelledObjects(np.zeros((5, 6), int)))
    assert len(table) == 0
    assert {"object_id", "class", "area", "confidence"} <= set(table.columns)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_tables_come_back(name: str, two_boxes: LabelledObjects, tmp_path: Path) -> None:
    table = measure_objects(two_boxes)
    path = tmp_path / name
    write_table(path, table)
    found = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(found, table, check_dtype=False)
    assert list(tmp_path.iterdir()) == [path]


def test_another_ending_is_refused(two_boxes: LabelledObjects, tmp_path: Path) -> None:
    with pytest.raises(ImageFormatError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "table.xls", measure_objects(two_boxes))
    assert list(tmp_path.iterdir()) == []
