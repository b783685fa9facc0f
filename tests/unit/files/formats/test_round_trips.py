"""What each format keeps, checked with its own reader where there is one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import geff
import jsonschema
import numpy as np
import pytest
import roifile
from geff.validate.structure import validate_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO
from scipy import ndimage

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.coco import decompress_counts, read_coco, write_coco
from napari_promptable.files.formats.ctc import read_ctc, write_ctc
from napari_promptable.files.formats.exchange import FORMATS, export_objects, import_objects
from napari_promptable.files.formats.geff_tracks import read_geff, write_geff
from napari_promptable.files.formats.geojson import write_geojson
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.files.formats.outlines import fill_outline, trace_outline

EXACT = {"coco": "labels.json", "geojson": "labels.geojson", "roi": "labels.zip"}


@pytest.fixture
def ring_and_pieces() -> LabelledObjects:
    """Three planes: an object with a hole, one in two pieces, one that goes through all."""
    labels = np.zeros((3, 12, 15), np.uint16)
    labels[0, 1:8, 1:8] = 7
    labels[0, 3:5, 3:6] = 0
    labels[1, 0, 0] = labels[1, 11, 14] = 300
    labels[1, 1, 1] = 300  # touches the first piece at a corner
    labels[:, 9:, 2:6] = 2
    return LabelledObjects(
        labels,
        "ZYX",
        image_name="stack.tif",
        class_names={7: "nucleus"},
        class_colors={"nucleus": (0, 114, 178)},
        confidence={(7, (0,)): 0.875},
    )


@pytest.mark.parametrize(("name", "file"), EXACT.items())
def test_labels_ids_and_classes_come_back(
    name: str, file: str, ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / file
    export_objects(path, ring_and_pieces)
    found = import_objects(path, ring_and_pieces.labels.shape, "ZYX", name)
    np.testing.assert_array_equal(found.labels, ring_and_pieces.labels)
    assert found.class_names == {7: "nucleus"}


@pytest.mark.parametrize("name", ["coco", "geojson"])
def test_confidence_comes_back(
    name: str, ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / EXACT[name]
    export_objects(path, ring_and_pieces)
    found = import_objects(path, ring_and_pieces.labels.shape, "ZYX")
    assert found.confidence == {(7, (0,)): 0.875}


def test_nothing_is_written_for_a_path_in_no_folder(
    ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    for file in EXACT.values():
        with pytest.raises(ImageFormatError, match="name a folder that exists"):
            export_objects(tmp_path / "missing" / file, ring_and_pieces)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=200, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_an_outline_fills_to_its_mask(mask: np.ndarray) -> None:
    if mask.any():
        outline = trace_outline(mask, (3, 5))
        region, filled = fill_outline(outline, (20, 20))
        drawn, expected = np.zeros((2, 20, 20), bool)
        drawn[region] = filled
        expected[3 : 3 + mask.shape[0], 5 : 5 + mask.shape[1]] = mask
        np.testing.assert_array_equal(drawn, expected)
        assert outline.area == mask.sum()
        assert outline.is_valid, "no ring may touch itself, or QuPath refuses it"
        assert len(outline.geoms) == ndimage.label(mask)[1]


def test_an_outline_is_cut_off_at_the_border() -> None:
    outline = trace_outline(np.ones((4, 4), bool), (8, -2))
    region, filled = fill_outline(outline, (10, 10))
    assert region == (slice(8, 10), slice(0, 2))
    assert filled.all()


# pycocotools 2.0.11 itself uses numpy in a way that numpy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("with_polygons", [False, True])
def test_pycocotools_reads_the_masks(
    with_polygons: bool, ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    write_coco(path, ring_and_pieces, with_polygons=with_polygons)
    coco = COCO(str(path))
    labels = np.zeros(ring_and_pieces.labels.shape, int)
    for annotation in coco.dataset["annotations"]:
        [position] = coco.imgs[annotation["image_id"]]["position"]
        labels[position][coco.annToMask(annotation) == 1] = annotation["object_id"]
    expected = ring_and_pieces.labels.copy()
    if with_polygons:
        expected[0, 3:5, 3:6] = 7  # COCO's polygons have no holes
    np.testing.assert_array_equal(labels, expected)
    assert {c["name"] for c in coco.dataset["categories"]} == {"object", "nucleus"}


def test_compressed_counts_are_those_of_pycocotools() -> None:
    from pycocotools import mask as masks

    rng = np.random.default_rng(0)
    mask = rng.random((50, 70)) > 0.7
    encoded = masks.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = decompress_counts(encoded["counts"].decode())
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    np.testing.assert_array_equal(values.reshape(70, 50).T, mask)


def test_coco_of_another_program_needs_no_ids_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 4, "height": 6, "width": 8}],
                "categories": [{"id": 9, "name": "cell"}],
                "annotations": [
                    {
                        "id": 12,
                        "image_id": 4,
                        "category_id": 9,
                        "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]],
                    }
                ],
            }
        )
    )
    found = read_coco(path)
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:4] = 12
    np.testing.assert_array_equal(found.labels, expected)
    assert found.class_names == {12: "cell"}


def test_geojson_has_what_qupath_needs(
    ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / "labels.geojson"
    write_geojson(path, ring_and_pieces)
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    ids = [feature["id"] for feature in content["features"]]
    assert len(set(ids)) == len(ids)
    [nucleus] = [f for f in content["features"] if f["properties"]["name"] == "7"]
    assert nucleus["geometry"]["type"] == "Polygon"
    assert nucleus["geometry"]["plane"] == {"c": -1, "z": 0, "t": 0}
    exterior, hole = nucleus["geometry"]["coordinates"]
    assert sorted(map(tuple, exterior))[0] == (1.0, 1.0)
    assert sorted(map(tuple, exterior))[-1] == (8.0, 8.0)
    assert len(hole) == 5
    assert nucleus["properties"]["objectType"] == "detection"
    assert nucleus["properties"]["classification"] == {
        "name": "nucleus",
        "color": [0, 114, 178],
    }
    assert nucleus["properties"]["measurements"]["Predicted IoU"] == 0.875


_POSITION = {
    "type": "array",
    "minItems": 2,
    "maxItems": 3,
    "prefixItems": [{"type": "number"}, {"type": "number"}],
}
_RING = {"type": "array", "minItems": 4, "items": _POSITION}
_POLYGON = {"type": "array", "minItems": 1, "items": _RING}
_PLANE = {
    "type": "object",
    "properties": {axis: {"type": "integer"} for axis in "czt"},
    "required": ["c", "z", "t"],
    "additionalProperties": False,
}
QUPATH_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string", "format": "uuid"},
                    "geometry": {
                        "type": "object",
                        "properties": {"plane": _PLANE},
                        "required": ["type", "coordinates"],
                        "oneOf": [
                            {
                                "properties": {
                                    "type": {"const": "Polygon"},
                                    "coordinates": _POLYGON,
                                }
                            },
                            {
                                "properties": {
                                    "type": {"const": "MultiPolygon"},
                                    "coordinates": {"type": "array", "items": _POLYGON},
                                }
                            },
                        ],
                    },
                    "properties": {
                        "type": "object",
                        "properties": {
                            "objectType": {"enum": ["annotation", "detection", "cell", "tile"]},
                            "name": {"type": "string"},
                            "classification": {
                                "type": "object",
                                "properties": {
                                    "name": {"type": "string"},
                                    "color": {
                                        "type": "array",
                                        "minItems": 3,
                                        "maxItems": 3,
                                        "items": {
                                            "type": "integer",
                                            "minimum": 0,
                                            "maximum": 255,
                                        },
                                    },
                                },
                                "required": ["name"],
                            },
                            "measurements": {
                                "type": "object",
                                "additionalProperties": {"type": "number"},
                            },
                        },
                        "required": ["objectType"],
                    },
                },
                "required": ["type", "id", "geometry", "properties"],
            },
        },
    },
    "required": ["type", "features"],
}
"""What QuPath's GsonTools read of GeoJSON (RFC 7946), as its PathObjectTypeAdapters have it."""


def test_geojson_fits_qupath_s_schema(ring_and_pieces: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "labels.geojson"
    write_geojson(path, ring_and_pieces)
    content = json.loads(path.read_text())
    checks = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.validate(content, QUPATH_SCHEMA, format_checker=checks)
    for feature in content["features"]:
        geometry = feature["geometry"]
        rings = geometry["coordinates"]
        if geometry["type"] == "MultiPolygon":
            rings = [ring for polygon in rings for ring in polygon]
        assert all(ring[0] == ring[-1] for ring in rings), "rings are closed"


def test_geojson_without_properties_is_numbered(tmp_path: Path) -> None:
    path = tmp_path / "other.geojson"
    square = {"type": "Polygon", "coordinates": [[[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]]}
    path.write_text(json.dumps({"type": "Feature", "geometry": square, "properties": None}))
    found = import_objects(path, (6, 8))
    assert found.labels.sum() == 9
    assert found.labels[1, 2] == 1


def test_roifile_reads_names_and_positions(
    ring_and_pieces: LabelledObjects, tmp_path: Path
) -> None:
    path = tmp_path / "rois.zip"
    export_objects(path, ring_and_pieces)
    regions = roifile.roiread(path)
    assert [region.name for region in regions] == [
        "0002-1",
        "0007-2 nucleus",
        "0002-3",
        "0300-4",
        "0002-5",
    ]
    assert [region.z_position for region in regions] == [1, 1, 2, 2, 3]
    assert [region.composite for region in regions] == [False, True, False, True, False]
    assert len(zipfile.ZipFile(path).namelist()) == 5


@pytest.fixture
def tracks() -> LabelledObjects:
    """Five frames: object 1 is always there, object 2 is missing in the third."""
    labels = np.zeros((5, 10, 12), np.uint32)
    for time in range(5):
        labels[time, 1:4, time : time + 3] = 1
        if time != 2:
            labels[time, 6:9, 2:6] = 2
    return LabelledObjects(labels, "TYX", scale=(30.0, 0.5, 0.5), unit="micrometer")


def test_ctc_has_no_gaps_in_a_track(tracks: LabelledObjects, tmp_path: Path) -> None:
    folder = tmp_path / "01_res"
    write_ctc(folder, tracks)
    assert (folder / "res_track.txt").read_text() == "1 0 4 0\n2 0 1 0\n3 3 4 2\n"
    assert len(list(folder.glob("mask*.tif"))) == 5
    np.testing.assert_array_equal(read_ctc(folder).labels, tracks.labels)


def test_a_ctc_reference_has_names_of_its_own(tracks: LabelledObjects, tmp_path: Path) -> None:
    folder = tmp_path / "01_GT"
    write_ctc(folder, tracks)
    assert (folder / "TRA/man_track.txt").read_text() == "1 0 4 0\n2 0 1 0\n3 3 4 2\n"
    assert len(list((folder / "TRA").glob("man_track*.tif"))) == 5
    np.testing.assert_array_equal(read_ctc(folder).labels, tracks.labels)
    np.testing.assert_array_equal(read_ctc(folder / "TRA").labels, tracks.labels)


def test_ctc_folders_of_earlier_versions_are_read(
    tracks: LabelledObjects, tmp_path: Path
) -> None:
    folder = tmp_path / "01_res"
    write_ctc(folder, tracks)
    (folder / "res_track.txt").rename(folder / "man_track.txt")
    np.testing.assert_array_equal(read_ctc(folder).labels, tracks.labels)


def test_the_challenge_s_own_checks_pass(tracks: LabelledObjects, tmp_path: Path) -> None:
    """py-ctcmetrics takes the result for valid, and compares it with the reference."""
    from ctc_metrics.scripts.evaluate import evaluate_sequence
    from ctc_metrics.scripts.validate import validate_sequence

    result, reference = tmp_path / "01_RES", tmp_path / "01_GT"
    write_ctc(result, tracks)
    write_ctc(reference, tracks)
    assert validate_sequence(str(result), threads=1)["Valid"] == 1
    scores = evaluate_sequence(str(result), str(reference), ["TRA", "DET"], threads=1)
    assert (scores["TRA"], scores["DET"]) == (1, 1)


def test_ctc_refuses_ids_that_do_not_fit(tmp_path: Path) -> None:
    labels = np.full((2, 4, 4), 70_000, np.uint32)
    with pytest.raises(ImageFormatError, match="65535"):
        write_ctc(tmp_path / "01_res", LabelledObjects(labels, "TYX"))
    assert list(tmp_path.iterdir()) == []


def test_ctc_of_a_volume_is_refused(tmp_path: Path) -> None:
    labels = LabelledObjects(np.ones((2, 4, 4), int), "ZYX")
    with pytest.raises(ImageFormatError, match="these labels have ZYX"):
        write_ctc(tmp_path / "01_res", labels)


def test_geff_has_a_node_for_each_frame(tracks: LabelledObjects, tmp_path: Path) -> None:
    path = tmp_path / "tracks.geff"
    write_geff(path, tracks)
    nodes = read_geff(path)
    assert len(nodes) == 9
    validate_structure(path)
    graph, metadata = geff.read(path)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (9, 7)
    assert [axis.name for axis in metadata.axes] == ["t", "y", "x"]
    [last] = [n for n in nodes if n["t"] == 120.0 and n["object_id"] == 1]
    assert (last["y"], last["x"], last["area"]) == (1.0, 2.5, 9)


def test_import_for_an_image_of_another_shape_is_refused(
    tracks: LabelledObjects, tmp_path: Path
) -> None:
    folder = tmp_path / "01_res"
    write_ctc(folder, tracks)
    with pytest.raises(ImageFormatError, match="this one has"):
        import_objects(folder, (5, 20, 12), "TYX")


@pytest.mark.parametrize("name", FORMATS)
def test_rubbish_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(b"\x00\x01rubbish")
    with pytest.raises(ImageFormatError) as caught:
        import_objects(path, (10, 10), "YX", name)
    assert "\n" not in str(caught.value)


def test_an_unknown_ending_is_refused(ring_and_pieces: LabelledObjects, tmp_path: Path) -> None:
    with pytest.raises(ImageFormatError, match="give --format"):
        export_objects(tmp_path / "labels.doc", ring_and_pieces)
