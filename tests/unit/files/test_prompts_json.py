import copy
import json
import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import (
    format_prompts,
    parse_prompts,
    read_prompts,
    write_prompts,
)
from napari_promptable.propagation.settings import PropagationSettings

EXAMPLE = """
{"format": "napari-promptable/prompts", "version": 1,
 "image": {"name": "stack.tif", "shape": [30, 256, 256]}, "plane_axes": [1, 2], "model": "tiny",
 "objects": [
   {"id": 1, "planes": [
      {"index": [12], "points": [{"yx": [40.0, 52.0], "label": 1}, {"yx": [10.0, 9.0], "label": 0}],
       "boxes": [[30, 40, 60, 70]], "candidate": null}]}]}
"""  # noqa: E501

NUMBERS = st.floats(-1000, 1000, width=32)
EXTRAS = st.dictionaries(
    st.text(min_size=1, max_size=5).map(lambda text: "x-" + text),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()),
    max_size=2,
)


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    point: dict[str, Any] = {
        "yx": [draw(NUMBERS), draw(NUMBERS)],
        "label": draw(st.integers(0, 1)),
    }
    if draw(st.booleans()):
        point["refines"] = draw(st.integers(0, 2))
    return point | draw(EXTRAS)


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    top, bottom = sorted([draw(NUMBERS), draw(NUMBERS)])
    left, right = sorted([draw(NUMBERS), draw(NUMBERS)])
    return [top, left, bottom, right]


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """Valid files: images of two to four dimensions, unknown keys everywhere."""
    shape = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    axes = draw(
        st.lists(st.integers(0, len(shape) - 1), min_size=2, max_size=2, unique=True).map(
            sorted
        )
    )
    sides = [shape[axis] for axis in range(len(shape)) if axis not in axes]
    indices = st.tuples(*(st.integers(0, side - 1) for side in sides)).map(list)
    objects = []
    for object_id in draw(st.lists(st.integers(1, 99), unique=True, max_size=3)):
        planes = []
        for index in draw(st.lists(indices, unique_by=tuple, max_size=2)):
            plane = {
                "index": index,
                "points": draw(st.lists(points(), max_size=3)),
                "boxes": draw(st.lists(boxes(), max_size=2)),
                "candidate": draw(st.none() | st.integers(0, 2)),
            }
            polygons = draw(
                st.lists(
                    st.lists(st.tuples(NUMBERS, NUMBERS).map(list), min_size=3, max_size=4),
                    max_size=2,
                )
            )
            plane |= {"polygons": polygons} if polygons else {}
            plane |= draw(st.sampled_from([{}, {"mask": {"size": [2, 3], "counts": [1, 5]}}]))
            plane |= draw(st.sampled_from([{}, {"one_part": True}]))
            strokes = [{"yx": path, "label": i % 2} for i, path in enumerate(polygons)]
            plane |= {"strokes": strokes} if strokes and draw(st.booleans()) else {}
            planes.append(plane | draw(EXTRAS))
        objects.append({"id": object_id, "planes": planes} | draw(EXTRAS))
    return {
        "format": "napari-promptable/prompts",
        "version": 2 if any("strokes" in p for o in objects for p in o["planes"]) else 1,
        "image": {"name": draw(st.text(max_size=5)), "shape": shape} | draw(EXTRAS),
        "plane_axes": axes,
        "model": "tiny",
        "objects": objects,
    } | draw(EXTRAS)


@pytest.fixture
def example() -> dict[str, Any]:
    """Parsed JSON of a valid file with one object."""
    content: dict[str, Any] = json.loads(EXAMPLE)
    return content


@given(contents())
def test_a_round_trip_loses_nothing(content: dict[str, Any]) -> None:
    text = json.dumps(content)
    found = format_prompts(parse_prompts(json.loads(text)))
    assert json.loads(json.dumps(found)) == json.loads(text)


@given(contents())
def test_parsing_leaves_its_argument_alone(content: dict[str, Any]) -> None:
    before = copy.deepcopy(content)
    parse_prompts(content)
    assert content == before


def test_the_example_of_the_documentation(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(EXAMPLE, encoding="utf-8")
    document = read_prompts(path)
    assert (document.image_name, document.image_shape) == ("stack.tif", (30, 256, 256))
    assert (document.plane_axes, document.model) == ((1, 2), "tiny")
    prompts = document.objects[1][(12,)]
    assert prompts.points_yx.tolist() == [[40, 52], [10, 9]]
    assert prompts.point_labels.tolist() == [1, 0]
    assert prompts.boxes_yxyx.tolist() == [[30, 40, 60, 70]]
    assert prompts.candidate is None
    write_prompts(document, path)
    assert json.loads(path.read_text(encoding="utf-8")) == example
    assert [file.name for file in tmp_path.iterdir()] == ["prompts.json"]


def test_parts_of_a_plane_may_be_left_out(example: dict[str, Any]) -> None:
    example["objects"][0]["planes"] = [{"index": [3], "boxes": [[0, 0, 5, 5]]}]
    prompts = parse_prompts(example).objects[1][(3,)]
    assert len(prompts.points_yx) == 0
    assert prompts.boxes_yxyx.shape == (1, 4)


def test_strokes_raise_the_version(example: dict[str, Any]) -> None:
    plane = {"index": [3], "strokes": [{"yx": [[1, 2], [9, 2]], "label": 0}]}
    example["objects"][0]["planes"] = [plane]
    example["version"] = 2
    document = parse_prompts(example)
    prompts = document.objects[1][(3,)]
    assert prompts.strokes_yx[0].tolist() == [[1, 2], [9, 2]]
    assert prompts.stroke_labels.tolist() == [0]
    written = format_prompts(document)
    assert written["version"] == 2
    assert written["objects"][0]["planes"][0]["strokes"] == plane["strokes"]


def test_classes_keep_their_order_and_colors(example: dict[str, Any]) -> None:
    classes = [{"name": "cell", "color": "#E69F00"}, {"name": "a b", "color": "#0072b2"}]
    document = parse_prompts({**example, "classes": classes})
    assert list(document.class_colors.items()) == [("cell", "#E69F00"), ("a b", "#0072b2")]
    assert format_prompts(document)["classes"] == classes
    assert "classes" not in format_prompts(parse_prompts(example))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "a"}, "classes[0].color is missing"),
        ({"name": "", "color": "#000000"}, "classes[0].name must be text of 1 or more"),
        ({"name": "a", "color": "red"}, "classes[0].color must be text of the form ^#[0-9a-fA"),
    ],
)
def test_a_wrong_class_is_refused(
    example: dict[str, Any], wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        parse_prompts({**example, "classes": [wrong]})


def test_a_stroke_without_points_is_refused(example: dict[str, Any]) -> None:
    example["objects"][0]["planes"] = [{"index": [3], "strokes": [{"yx": [], "label": 1}]}]
    with pytest.raises(PromptError, match="strokes"):
        parse_prompts(example)


@pytest.mark.parametrize("version", [0, 3, "1", None, True])
def test_an_unknown_version_is_refused_by_name(example: dict[str, Any], version: Any) -> None:
    example["version"] = version
    with pytest.raises(PromptError) as raised:
        parse_prompts(example)
    message = str(raised.value)
    assert f"version {version!r} is unknown" in message
    assert "version 1 and version 2" in message
    assert "update" in message


@pytest.mark.parametrize("content", [None, 3, [], {}, {"format": "geojson", "version": 1}])
def test_another_format_is_refused(content: Any) -> None:
    with pytest.raises(PromptError, match="napari-promptable/prompts"):
        parse_prompts(content)


PLANE = ("objects", 0, "planes", 0)
POINT = (*PLANE, "points", 0)
MISSING = object()


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("image",), MISSING, "image is missing"),
        (("image", "name"), MISSING, "image.name is missing"),
        (("image", "name"), 3, "image.name must be text, not 3"),
        (("image", "shape"), MISSING, "image.shape is missing"),
        (("image",), "stack.tif", "image must be names and values, not 'stack.tif'"),
        (("image", "shape"), "large", "image.shape must be a list, not 'large'"),
        (
            ("image", "shape"),
            [30, 256.5, 256],
            "image.shape[1] must be a whole number, not 256.5",
        ),
        (("plane_axes",), MISSING, "plane_axes is missing"),
        (("plane_axes",), [1], "plane_axes[1] is missing"),
        (("plane_axes",), [1, 1], "plane_axes (1, 1) are not two increasing axes"),
        (("plane_axes",), [2, 1], "plane_axes (2, 1) are not two increasing axes"),
        (("plane_axes",), [1, 3], "plane_axes (1, 3) are not two increasing axes"),
        (("plane_axes",), [-1, 2], "plane_axes[0] must be 0 or more, not -1"),
        (("plane_axes",), None, "plane_axes must be a list, not None"),
        (("model",), MISSING, "model is missing"),
        (("objects",), MISSING, "objects is missing"),
        (("objects",), 3, "objects must be a list, not 3"),
        (("objects", 0), "a", "objects[0] must be names and values, not 'a'"),
        (("objects", 0, "id"), MISSING, "objects[0].id is missing"),
        (("objects", 0, "id"), 0, "objects[0].id must be more than 0, not 0"),
        (("objects", 0, "id"), 1.5, "objects[0].id must be a whole number, not 1.5"),
        (("objects", 0, "id"), "one", "objects[0].id must be a whole number, not 'one'"),
        (("objects", 0, "planes"), MISSING, "objects[0].planes is missing"),
        ((*PLANE, "index"), MISSING, "planes[0].index is missing"),
        ((*PLANE, "index"), [], "object 1: index [] is no plane"),
        ((*PLANE, "index"), [1, 2], "object 1: index [1, 2] is no plane"),
        ((*PLANE, "index"), [30], "object 1: index [30] is no plane"),
        ((*PLANE, "index"), [-1], "planes[0].index[0] must be 0 or more, not -1"),
        ((*PLANE, "index"), [1.5], "planes[0].index[0] must be a whole number, not 1.5"),
        ((*PLANE, "points"), 5, "planes[0].points must be a list, not 5"),
        ((*PLANE, "candidate"), -1, "planes[0].candidate must be 0 or more, not -1"),
        ((*PLANE, "candidate"), "best", "candidate must be a whole number, not 'best'"),
        ((*PLANE, "boxes"), [[5, 5, 0, 0]], "object 1: a box must be four finite numbers"),
        ((*PLANE, "boxes"), [[1, 2, 3]], "planes[0].boxes[0][3] is missing"),
        ((*PLANE, "polygons"), [[[1, 2, 3]]], "polygons[0][0] must be a list of 2"),
        (
            (*PLANE, "mask"),
            {"size": [2, 3], "counts": [5]},
            "object 1: a mask must have a size and counts that add up",
        ),
        ((*PLANE, "mask"), {"size": [2, 3], "counts": [6]}, "at least one pixel"),
        ((*POINT, "yx"), MISSING, "points[0].yx is missing"),
        ((*POINT, "yx"), [1], "points[0].yx[1] is missing"),
        ((*POINT, "yx"), [float("nan"), 1], "yx[0] must be a finite number, not nan"),
        ((*POINT, "label"), MISSING, "points[0].label is missing"),
        ((*POINT, "label"), 2, "points[0].label must be 0 or 1, not 2"),
        ((*POINT, "label"), "positive", "label must be 0 or 1, not 'positive'"),
        ((*POINT, "refines"), -1, "points[0].refines must be 0 or more, not -1"),
        ((*POINT, "refines"), "best", "refines must be a whole number, not 'best'"),
    ],
)
def test_what_is_wrong_is_named(
    example: dict[str, Any], path: tuple, value: Any, problem: str, tmp_path: Path
) -> None:
    *parents, key = path
    inner: Any = example
    for parent in parents:
        inner = inner[parent]
    if value is MISSING:
        del inner[key]
    else:
        inner[key] = value
    with pytest.raises(PromptError, match=re.escape(problem)):
        parse_prompts(example)
    file = tmp_path / "faulty.json"
    file.write_text(json.dumps(example), encoding="utf-8")
    with pytest.raises(PromptError, match=r"faulty\.json: "):
        read_prompts(file)


def test_two_entries_for_one_thing_are_refused(example: dict[str, Any]) -> None:
    twice = copy.deepcopy(example)
    twice["objects"] *= 2
    with pytest.raises(PromptError, match="object id 1 .* twice"):
        parse_prompts(twice)
    example["objects"][0]["planes"] *= 2
    with pytest.raises(PromptError, match="object 1 has two entries for one index"):
        parse_prompts(example)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(content)
    with pytest.raises(PromptError, match=r"prompts\.json cannot be read as JSON"):
        read_prompts(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="absent"):
        read_prompts(tmp_path / "absent.json")


def test_a_failing_write_leaves_the_file_as_it_was(
    tmp_path: Path, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prompts.json"
    path.write_text("former", encoding="utf-8")
    document = parse_prompts(example | {"x-unwritable": object()})
    with pytest.raises(TypeError):
        write_prompts(document, path)
    assert path.read_text(encoding="utf-8") == "former"

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(PromptError, match="disk full"):
        write_prompts(parse_prompts(example), path)
    assert path.read_text(encoding="utf-8") == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(EXAMPLE, encoding="utf-8-sig")
    assert read_prompts(path).image_name == "stack.tif"


def test_the_published_schema_is_current() -> None:
    folder = Path(__file__).parents[3] / "docs"
    make = runpy.run_path(str(folder / "scripts" / "make_prompts_schema.py"))["format_schema"]
    published = (folder / "reference" / "prompts-json.schema.json").read_text(encoding="utf-8")
    assert published == make()


def test_the_schema_accepts_what_is_written_and_refuses_the_rest(
    example: dict[str, Any],
) -> None:
    folder = Path(__file__).parents[3] / "docs" / "reference"
    schema = json.loads((folder / "prompts-json.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    example["propagation"] = PropagationSettings(max_area=float("inf")).to_dict()
    example["current_class"] = example["objects"][0]["class"] = "nucleus"
    written = json.loads(json.dumps(format_prompts(parse_prompts(example))))
    assert written["current_class"] == "nucleus"
    validator.validate(written)
    assert not validator.is_valid(written | {"current_class": 3})
    example["objects"][0]["planes"][0]["points"][0]["label"] = 2
    assert not validator.is_valid(example)
