"""Prompts from napari's CSV of Points and Shapes layers."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from napari_promptable.errors import PromptError
from napari_promptable.files.napari_csv import count_axes, read_csv_prompts
from napari_promptable.planes import PlaneAxes

PLANE = PlaneAxes((40, 50), (0, 1))
STACK = PlaneAxes((3, 40, 50), (1, 2))
CORNERS = [(5, 6), (5, 16), (25, 16), (25, 6)]


def write(path: Path, columns: str, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])
    return path


def write_shape(path: Path, kind: str, corners: Sequence[Sequence[float]]) -> Path:
    axes = " ".join(f"axis-{n}" for n in range(len(corners[0])))
    rows = [(0, kind, n, *corner) for n, corner in enumerate(corners)]
    return write(path, f"index shape-type vertex-index {axes}", rows)


def test_each_point_is_an_object_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "index axis-0 axis-1", [(0, 10, 20), (1, 30.5, 40)])
    assert count_axes(path) == 2
    document = read_csv_prompts([path], "image.tif", PLANE, "tiny")
    assert (document.image_name, document.image_shape, document.model) == (
        "image.tif",
        (40, 50),
        "tiny",
    )
    assert [planes[()].points_yx.tolist() for planes in document.objects.values()] == [
        [[10, 20]],
        [[30.5, 40]],
    ]
    assert list(document.objects) == [1, 2]
    assert all(planes[()].one_part for planes in document.objects.values())


def test_labels_and_ids_are_respected(tmp_path: Path) -> None:
    rows = [
        (0, 1.2, 10, 20, "positive", 7),
        (1, 1, 11, 20, "negative", 7),
        (2, 2, 12, 20, 1, "7.0"),
        (3, 0, 13, 20, 0, 3),
    ]
    path = write(tmp_path / "p.csv", "index axis-0 axis-1 axis-2 label object_id", rows)
    objects = read_csv_prompts([path], "", STACK, "tiny").objects
    assert {i: list(planes) for i, planes in objects.items()} == {7: [(1,), (2,)], 3: [(0,)]}
    assert objects[7][(1,)].points_yx.tolist() == [[10, 20], [11, 20]]
    assert objects[7][(1,)].point_labels.tolist() == [1, 0]
    assert objects[3][(0,)].point_labels.tolist() == [0]


def test_points_and_shapes_come_together(tmp_path: Path) -> None:
    points = write(tmp_path / "p.csv", "index axis-0 axis-1 object_id", [(0, 10, 20, 4)])
    boxes = write_shape(tmp_path / "b.csv", "rectangle", CORNERS)
    objects = read_csv_prompts([points, boxes], "", PLANE, "tiny").objects
    assert list(objects) == [4, 5]
    assert objects[5][()].boxes_yxyx.tolist() == [[5, 6, 25, 16]]


@pytest.mark.parametrize(("kind", "count"), [("ellipse", 48), ("polygon", 4)])
def test_outlines(kind: str, count: int, tmp_path: Path) -> None:
    path = write_shape(tmp_path / "b.csv", kind, [(2, *corner) for corner in CORNERS])
    [polygon] = read_csv_prompts([path], "", STACK, "tiny").objects[1][(2,)].polygons_yx
    assert len(polygon) == count
    assert np.allclose(polygon.mean(axis=0), [15, 11], atol=1e-4)
    assert np.allclose(polygon.max(axis=0), [25, 16], atol=0.1)


@pytest.mark.parametrize(
    ("columns", "row", "problem"),
    [
        ("index axis-0 axis-1", (0, 10, 99), r"row 1 is at \[10.0, 99.0\], outside"),
        ("index axis-0 axis-1", (0, 10, "x"), "row 1: positions must be numbers"),
        ("index axis-0 axis-1", (0, 10), "row 1: positions must be numbers"),
        ("index axis-0 axis-1 axis-2", (0, 1, 10, 9), "row 1 has 3 axes, but the image has"),
        ("index axis-0 axis-1 label", (0, 9, 9, "maybe"), "label must be one of positive, "),
        ("index axis-0 axis-1 object_id", (0, 9, 9, 0), "object_id must be a whole number"),
        ("index y x", (0, 9, 9), "holds no positions"),
    ],
)
def test_a_wrong_row_is_named(columns: str, row: tuple, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", columns, [row])
    with pytest.raises(PromptError, match=rf"p\.csv.*{problem}"):
        read_csv_prompts([path], "", PLANE, "tiny")


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    line = write_shape(tmp_path / "line.csv", "path", CORNERS)
    with pytest.raises(PromptError, match=r"line\.csv, shape 0 is a path; draw a rectangle"):
        read_csv_prompts([line], "", PLANE, "tiny")
    tilted = write_shape(tmp_path / "tilted.csv", "polygon", [(0, 5, 5), (1, 5, 9), (0, 9, 9)])
    with pytest.raises(PromptError, match="shape 0 crosses slices"):
        read_csv_prompts([tilted], "", STACK, "tiny")
    outside = write_shape(tmp_path / "o.csv", "polygon", [(7, 5, 5), (7, 5, 9), (7, 9, 9)])
    with pytest.raises(PromptError, match="shape 0 is on slice 7, which the image does not"):
        read_csv_prompts([outside], "", STACK, "tiny")


@pytest.mark.parametrize("content", [None, b"", b"index,axis-0,axis-1\n", b"\xff\xfe\x00"])
def test_a_file_without_positions_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PromptError, match=r"p\.csv"):
        read_csv_prompts([path], "", PLANE, "tiny")


def test_what_napari_saves_is_read(tmp_path: Path) -> None:
    io = pytest.importorskip("napari_builtins.io")
    io.napari_write_points(
        str(tmp_path / "p.csv"), np.array([[1.0, 10, 20]]), {"properties": {"object_id": [5]}}
    )
    corners = np.array([[1.0, *corner] for corner in CORNERS])
    io.napari_write_shapes(str(tmp_path / "b.csv"), [corners], {"shape_type": ["rectangle"]})
    paths = [tmp_path / "p.csv", tmp_path / "b.csv"]
    objects = read_csv_prompts(paths, "", STACK, "tiny").objects
    assert objects[5][(1,)].points_yx.tolist() == [[10, 20]]
    assert objects[6][(1,)].boxes_yxyx.tolist() == [[5, 6, 25, 16]]
