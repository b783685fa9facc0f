"""The commands export, import and measure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_promptable import cli
from napari_promptable.files.images import read_image
from napari_promptable.files.prompts_json import read_prompts


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    """Two channels of three slices, 0.5 µm a pixel."""
    image = np.zeros((3, 2, 20, 30), np.uint8)
    image[:, 0], image[:, 1] = 10, 200
    path = tmp_path / "image.ome.tif"
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"}
    tifffile.imwrite(
        path, image, ome=True, photometric="minisblack", metadata={"axes": "ZCYX", **sizes}
    )
    return path


@pytest.fixture
def labels_path(tmp_path: Path) -> Path:
    """Two objects."""
    labels = np.zeros((3, 20, 30), np.uint16)
    labels[:, 4:8, 5:10] = 6
    labels[1, 12:18, 20:28] = 9
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels, photometric="minisblack")
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.zip", "a.ome.zarr", "a.npy"])
def test_objects_go_out_and_come_back(
    name: str, labels_path: Path, image_path: Path, tmp_path: Path, capsys
) -> None:
    out, back = tmp_path / name, tmp_path / "back.tif"
    assert run("export", labels_path, "-o", out, "--image", image_path) == cli.DONE
    assert run("import", out, "-o", back, "--image", image_path) == cli.DONE
    written, read = capsys.readouterr().out.splitlines()
    assert written.startswith(f"{out}: ")
    assert read == f"{back}: 2 objects from {name}"
    np.testing.assert_array_equal(read_image(back), read_image(labels_path))


def test_the_export_says_what_is_lost(labels_path: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "polygons.json"
    assert run("export", labels_path, "-o", path, "--format", "coco-polygons") == cli.DONE
    assert "not in this format: holes" in capsys.readouterr().out
    annotations = json.loads(path.read_text())["annotations"]
    assert all(isinstance(each["segmentation"], list) for each in annotations)


def test_a_movie_becomes_tracks(labels_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "01_res"
    assert run("export", labels_path, "-o", folder, "--axes", "TYX") == cli.DONE
    assert (folder / "res_track.txt").read_text() == "6 0 2 0\n9 1 1 0\n"


def test_sizes_and_intensities_become_a_table(
    labels_path: Path, image_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    assert run("measure", labels_path, image_path, "-o", path) == cli.DONE
    table = pd.read_csv(path).set_index("object_id")
    assert table.loc[6, "volume"] == pytest.approx(3 * 4 * 5 * 0.5**3)
    assert table.loc[9, "intensity_mean_0"] == 10
    assert table.loc[9, "intensity_mean_1"] == 200


def test_one_channel_and_each_slice_are_measured(
    labels_path: Path, image_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "table.parquet"
    options = ["--channel", 1, "--per-slice"]
    assert run("measure", labels_path, image_path, "-o", path, *options) == cli.DONE
    table = pd.read_parquet(path)
    assert table["z"].tolist() == [0, 1, 1, 2]
    assert set(table["intensity_mean"]) == {200}


def test_labels_are_measured_without_an_image(labels_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    assert run("measure", labels_path, "-o", path, "--axes", "TYX") == cli.DONE
    table = pd.read_csv(path)
    assert table["area"].tolist() == [20, 20, 48, 20]
    assert not any(name.startswith("intensity") for name in table.columns)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["export", "labels.tif", "-o", "a.doc"], "give --format"),
        (["export", "labels.tif", "-o", "a.json", "--format", "xml"], "there is no format"),
        (["export", "missing.tif", "-o", "a.json"], "there is no file"),
        (["export", "labels.tif", "-o", "a.geff"], "time series"),
        (["import", "labels.tif", "-o", "a.tif", "--image", "missing.tif"], "no file"),
        (["import", "labels.tif", "-o", "a.tif"], "--image"),
        (["measure", "labels.tif", "-o", "a.xlsx"], ".csv or .parquet"),
        (["measure", "labels.tif", "image.ome.tif", "-o", "a.csv", "--channel", "5"], "0 to 1"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str], word: str, labels_path: Path, image_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(labels_path.parent)
    assert run(*arguments) == cli.MISTAKE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert word in err
    assert {path.name for path in labels_path.parent.iterdir()} == {
        "labels.tif",
        "image.ome.tif",
    }


def test_a_missing_package_is_named_with_its_extra(
    labels_path: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "geff", None)
    assert run("export", labels_path, "-o", tmp_path / "a.geff", "--axes", "TYX") == cli.MISTAKE
    assert "pip install 'napari-promptable[export]'" in capsys.readouterr().err


def test_one_object_is_one(image_path: Path, tmp_path: Path, capsys) -> None:
    outlines = tmp_path / "one.geojson"
    ring = [[0, 0], [5, 0], [5, 5], [0, 5], [0, 0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {}}
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    for name, text in (("o.tif", "1 object from"), ("o.json", "prompts of 1 object from")):
        arguments = "import", outlines, "-o", tmp_path / name, "--image", image_path
        assert run(*arguments) == cli.DONE
        assert capsys.readouterr().out.strip().endswith(f"{text} one.geojson")


@pytest.mark.parametrize("kind", ["box", "point"])
def test_objects_become_prompts(
    kind, labels_path: Path, image_path: Path, tmp_path: Path, capsys
):
    outlines, prompts = tmp_path / "cells.geojson", tmp_path / "prompts.json"
    assert run("export", labels_path, "-o", outlines, "--image", image_path) == cli.DONE
    arguments = "import", outlines, "-o", prompts, "--image", image_path
    assert run(*arguments, "--prompt", kind) == cli.DONE
    assert f"{prompts}: prompts of 2 objects from cells.geojson" in capsys.readouterr().out
    document = read_prompts(prompts)
    assert document.image_shape == (3, 20, 30)
    assert {i: list(planes) for i, planes in document.objects.items()} == {
        6: [(0,), (1,), (2,)],
        9: [(1,)],
    }
    labels = read_image(labels_path)
    for object_id, planes in document.objects.items():
        for index, plane in planes.items():
            if kind == "box":
                top, left, bottom, right = plane.boxes_yxyx[0].astype(int)
                found = np.argwhere(labels[index] == object_id)
                assert ([top, left], [bottom, right]) == (
                    found.min(axis=0).tolist(),
                    found.max(axis=0).tolist(),
                )
            else:
                row, column = plane.points_yx[0].astype(int)
                assert labels[index][row, column] == object_id


def test_tracks_become_points_but_no_labels(labels_path: Path, tmp_path: Path, capsys) -> None:
    tracks, prompts = tmp_path / "tracks.geff", tmp_path / "prompts.json"
    image = tmp_path / "movie.tif"
    tifffile.imwrite(image, np.zeros((3, 20, 30), np.uint8), photometric="minisblack")
    assert run("export", labels_path, "-o", tracks, "--axes", "TYX") == cli.DONE
    arguments = "import", tracks, "--image", image, "--axes", "TYX"
    assert run(*arguments, "-o", prompts, "--prompt", "point") == cli.DONE
    document = read_prompts(prompts)
    assert {i: list(planes) for i, planes in document.objects.items()} == {
        6: [(0,), (1,), (2,)],
        9: [(1,)],
    }
    labels = read_image(labels_path)
    for object_id, planes in document.objects.items():
        for index, plane in planes.items():
            row, column = plane.points_yx[0].astype(int)
            assert labels[index][row, column] == object_id
    assert run(*arguments, "-o", tmp_path / "labels.tif") == cli.MISTAKE
    assert "import them as points" in capsys.readouterr().err
    assert run(*arguments, "-o", prompts, "--prompt", "box") == cli.MISTAKE


def test_tracks_of_another_image_are_refused(labels_path: Path, tmp_path: Path, capsys) -> None:
    tracks, image = tmp_path / "tracks.geff", tmp_path / "small.tif"
    tifffile.imwrite(image, np.zeros((3, 9, 9), np.uint8), photometric="minisblack")
    assert run("export", labels_path, "-o", tracks, "--axes", "TYX") == cli.DONE
    arguments = "import", tracks, "--image", image, "-o", tmp_path / "p.json"
    assert run(*arguments, "--axes", "TYX", "--prompt", "point") == cli.MISTAKE
    assert "outside an image of shape (3, 9, 9)" in capsys.readouterr().err
    assert run(*arguments, "--axes", "ZYX", "--prompt", "point") == cli.MISTAKE
    assert "no positions along z" in capsys.readouterr().err


def test_an_unknown_kind_of_prompt_is_refused(
    labels_path, image_path, tmp_path, capsys
) -> None:
    out = tmp_path / "prompts.json"
    arguments = "import", labels_path, "-o", out, "--image", image_path, "--prompt", "circle"
    assert run(*arguments) == cli.MISTAKE
    assert "choose box or point" in capsys.readouterr().err
    assert not out.exists()
