"""The user's own points and shapes as prompts; their layers are never changed."""

import numpy as np
import pandas as pd
import pytest
from napari.components import Dims
from napari.layers import Image, Points, Shapes

from napari_promptable.gui.actions import messages
from napari_promptable.gui.layers.foreign_prompts import read_foreign
from napari_promptable.planes import PlaneAxes

pytestmark = pytest.mark.gui

PLANES = PlaneAxes((4, 60, 80), (1, 2))
CENTRES = [(15, 15), (40, 30), (22, 60)]


# reading


@pytest.fixture
def image() -> Image:
    return Image(np.zeros(PLANES.shape), scale=(2, 0.5, 0.5), translate=(0, 10, 20))


@pytest.fixture
def dims() -> Dims:
    dims = Dims(ndim=3, range=((0, 6, 2), (10, 40, 0.5), (20, 60, 0.5)))
    dims.set_point(0, 4)
    return dims


def test_the_transform_of_a_layer_counts(image, dims) -> None:
    points = Points([[1, 15, 25], [0, 0, 0]], scale=(2, 1, 1))  # the second lies outside
    [found] = read_foreign(points, image, PLANES, dims)
    assert found.index == (1,)
    np.testing.assert_allclose(found.prompts.points_yx, [[10, 10]])


def test_a_layer_of_fewer_axes_lies_on_the_slice_in_view(image, dims) -> None:
    [found] = read_foreign(Points([[15, 25]]), image, PLANES, dims)
    assert found.index == (2,)
    np.testing.assert_allclose(found.prompts.points_yx, [[10, 10]])


@pytest.mark.parametrize(
    ("labels", "signs"),
    [(["positive", "negative"], [1, 0]), ([1, 0], [1, 0]), (["nucleus", "1"], [1, 1])],
)
def test_features_are_respected(image, dims, labels, signs) -> None:
    features = pd.DataFrame({"label": labels, "object_id": [7, np.nan]})
    points = Points([[15, 25], [16, 26]], features=features)
    found = read_foreign(points, image, PLANES, dims)
    assert [each.prompts.point_labels.tolist() for each in found] == [[sign] for sign in signs]
    assert [each.object_id for each in found] == [7, None]


def test_shapes_are_boxes_or_outlines(image, dims) -> None:
    box = [[15, 25], [15, 30], [20, 30], [20, 25]]
    shapes = Shapes([box, box, box[:2]], shape_type=["rectangle", "ellipse", "line"])
    boxed, outlined = read_foreign(shapes, image, PLANES, dims)
    np.testing.assert_allclose(boxed.prompts.boxes_yxyx, [[10, 10, 20, 20]])
    assert len(outlined.prompts.polygons_yx) == 1


# in the widget


@pytest.fixture
def disks(make_disks):
    return make_disks(centres=CENTRES)


def add_spots(user, centres, **options):
    """Add the user's points in a layer that is scaled otherwise than the image."""
    user.viewer.add_points(np.array(centres) / 2, scale=(2, 2), name="spots", **options)
    user.wait_for(lambda: user.control("points_from").findText("spots") >= 0)
    return choose_source(user, "points_from", "spots")


def choose_source(user, name: str, layer_name: str):
    box = user.control(name)
    box.setCurrentIndex(box.findText(layer_name))
    box.activated.emit(box.currentIndex())
    user.wait_idle()
    return user.viewer.layers[layer_name]


def convert(user, name: str) -> None:
    user.control(name).click()
    user.wait_idle()


def test_each_point_is_an_object(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES)
    before = spots.data.copy(), spots.features.copy()
    assert user.status == '"spots" has 3 points. Points → objects saves an object for each.'
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)
    assert user.status.startswith("Objects 1, 2 and 3 saved:")
    np.testing.assert_array_equal(spots.data, before[0])
    assert spots.features.equals(before[1])
    user.push("undo")
    assert not user.labels.any()
    assert not user.control("undo").isEnabled(), "it is one change"


def test_objects_of_labels_that_are_gone_are_told(open_desk, disks) -> None:
    user = open_desk(disks.image)
    add_spots(user, CENTRES)
    user.model.predict_gate.clear()
    user.control("points_to_objects").click()
    user.viewer.layers.remove(user.objects)
    user.model.open_gates()
    user.wait_for(lambda: user.status == messages.NOT_DELIVERED)
    assert not user.labels.any()
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)


def test_later_edits_are_followed(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES[:2])
    convert(user, "points_to_objects")
    spots.add(np.array(CENTRES[2]) / 2)
    assert user.status.startswith('"spots" has 3 points.')
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)
    convert(user, "points_to_objects")
    assert "without an object" in user.status
    assert user.session.records.object_ids == [1, 2, 3]


def test_an_object_follows_its_point(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES[:2])
    convert(user, "points_to_objects")
    moved = spots.data.copy()
    moved[0] = np.array(CENTRES[2]) / 2
    spots.data = moved
    convert(user, "points_to_objects")
    assert user.session.records.object_ids == [1, 2]
    np.testing.assert_array_equal(user.labels == 1, disks.mask(2))
    np.testing.assert_array_equal(user.labels == 2, disks.mask(1))
    spots.selected_data = {0}
    spots.remove_selected()
    spots.add(np.array(CENTRES[0]) / 2)
    convert(user, "points_to_objects")
    assert user.session.records.object_ids == [1, 2, 3]
    np.testing.assert_array_equal(user.labels == 3, disks.mask(0))
    convert(user, "points_to_objects")
    assert "without an object" in user.status


def test_an_object_follows_its_point_to_another_slice(open_desk, make_disks) -> None:
    stack = make_disks((3, 60, 80), [(0, 15, 15), (2, 40, 30)])
    user = open_desk(stack.image)
    spots = user.viewer.add_points([stack.centres[0]], name="spots")
    user.wait_for(lambda: user.control("points_from").findText("spots") >= 0)
    choose_source(user, "points_from", "spots")
    convert(user, "points_to_objects")
    before = user.labels
    spots.data = [stack.centres[1]]
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels == 1, stack.mask(1))
    assert user.session.prompts.of(1).keys() == {(2,)}
    user.push("undo")
    np.testing.assert_array_equal(user.labels, before)


def test_many_points_are_followed(open_desk, make_disks) -> None:
    places = [(r, c) for r in range(10, 200, 20) for c in range(10, 200, 20)]
    disks = make_disks((200, 200), places)
    user = open_desk(disks.image)
    spots = add_spots(user, places)
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)
    moved = spots.data.copy()
    moved[::2] += 0.5  # one pixel of the image: the disks stay the same
    spots.data = moved
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)
    assert len(user.session.records.object_ids) == len(places)


def test_points_may_be_one_objects(open_desk, disks) -> None:
    user = open_desk(disks.image)
    add_spots(user, CENTRES[:2], features={"label": [1, 0]})
    box = user.control("objects_of")
    box.setCurrentIndex(1)
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, disks.mask(0))


def test_points_may_be_one_object_or_one_each_in_turn(open_desk, disks) -> None:
    """The same points never have two objects, one on the other."""
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES)
    box = user.control("objects_of")

    def ids() -> list[int]:
        convert(user, "points_to_objects")
        return [int(user.labels[centre]) for centre in CENTRES]

    box.setCurrentIndex(1)
    assert ids() == [1, 1, 1]
    assert ids() == [1, 1, 1]
    assert "without an object" in user.status
    box.setCurrentIndex(0)
    assert ids() == [1, 2, 3]
    box.setCurrentIndex(1)
    (together,) = set(ids())
    spots.selected_data = {2}
    spots.remove_selected()
    convert(user, "points_to_objects")
    assert len(user.session.prompts.of(together)[()].points_yx) == 2


def test_object_ids_of_a_layer_are_used(open_desk, disks) -> None:
    user = open_desk(disks.image)
    add_spots(user, CENTRES, features={"object_id": [5, 9, 12]})
    convert(user, "points_to_objects")
    for number, object_id in enumerate((5, 9, 12)):
        np.testing.assert_array_equal(user.labels == object_id, disks.mask(number))


def test_each_box_of_a_layer_is_an_object(open_desk, make_disks) -> None:
    stack = make_disks((4, 60, 80), [(1, 15, 15), (3, 40, 30)])
    user = open_desk(stack.image)
    boxes = [
        [[z, y - 7, x - 7], [z, y - 7, x + 7], [z, y + 7, x + 7], [z, y + 7, x - 7]]
        for z, y, x in stack.centres
    ]
    user.viewer.add_shapes(boxes, shape_type="rectangle", name="cells")
    user.wait_for(lambda: user.control("boxes_from").findText("cells") >= 0)
    choose_source(user, "boxes_from", "cells")
    user.push("boxes_to_objects")
    np.testing.assert_array_equal(user.labels, stack.truth)
    user.push("undo")
    assert not user.labels.any()


def test_own_clicks_become_an_object_each(open_desk, disks) -> None:
    user = open_desk(disks.image)
    for centre in CENTRES[:2]:
        user.click(user.world(*centre))
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, np.where(disks.truth < 3, disks.truth, 0))
    assert len(user.points.data) == 0


def test_a_removed_layer_is_no_source_any_more(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES)
    user.viewer.layers.remove(spots)
    user.wait_for(lambda: user.control("points_from").count() == 1)
    convert(user, "points_to_objects")
    assert not user.labels.any()


def test_a_thousand_points_move_at_once(open_desk, make_disks) -> None:
    """Each to where its neighbour was, which moves on in the same change."""
    grid = [(row, column) for row in range(0, 66, 2) for column in range(0, 64, 2)]
    pixels = make_disks((66, 64), grid, radius=0.5)
    user = open_desk(pixels.image)
    spots = add_spots(user, grid[:1024])
    convert(user, "points_to_objects")
    before = user.labels
    assert len(user.session.records.object_ids) == 1024
    spots.data = np.add(spots.data, [1, 0])  # two pixels of the image
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels[2:], before[:-2])
    assert not user.labels[:2].any()
    user.push("undo")
    np.testing.assert_array_equal(user.labels, before)


def test_an_object_follows_its_point_onto_another_object(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES)
    convert(user, "points_to_objects")
    before = user.labels
    spots.data = np.add(
        spots.data, np.outer([1, 0, 0], np.subtract(CENTRES[2], CENTRES[0])) / 2
    )
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, np.where(before == 1, 0, before))
    assert user.status == (
        "Object 1 removed: 69 pixels on 1 slice. Object 3 holds the pixels of its new mask."
    )
    convert(user, "points_to_objects")
    assert "was not saved: object 3 holds all of its pixels" in user.status
    user.push("undo")
    np.testing.assert_array_equal(user.labels, before)


def test_an_object_takes_the_id_that_its_point_is_given(open_desk, disks) -> None:
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES, features={"object_id": [5, 9, 12]})
    convert(user, "points_to_objects")
    before = user.labels
    spots.features = spots.features.assign(object_id=[7, 9, 12])
    assert user.status.startswith('"spots" has 3 points.')
    convert(user, "points_to_objects")
    np.testing.assert_array_equal(user.labels, np.where(before == 5, 7, before))
    assert user.status.startswith("Object 7 saved: 69 pixels on 1 slice. Object 5 got no")
    assert user.session.prompts.of(5) == {}
    user.push("undo")
    np.testing.assert_array_equal(user.labels, before)


def test_an_object_follows_all_its_points(open_desk, disks) -> None:
    """One of them moves to another object, later one of them is removed."""
    user = open_desk(disks.image)
    spots = add_spots(user, CENTRES, features={"object_id": [5, 5, 12]})
    convert(user, "points_to_objects")
    convert(user, "points_to_objects")
    assert "without an object" in user.status
    spots.features = spots.features.assign(object_id=[5, 12, 12])
    convert(user, "points_to_objects")
    asked = {i: len(user.session.prompts.of(i)[()].points_yx) for i in (5, 12)}
    assert asked == {5: 1, 12: 2}
    spots.selected_data = {1}
    spots.remove_selected()
    convert(user, "points_to_objects")
    assert len(user.session.prompts.of(12)[()].points_yx) == 1
    np.testing.assert_array_equal(user.labels == 12, disks.mask(2))


def test_new_ids_leave_out_the_ones_on_the_layer(open_desk, disks) -> None:
    user = open_desk(disks.image)
    add_spots(user, CENTRES, features={"object_id": [np.nan, 1, 2]})
    convert(user, "points_to_objects")
    for number, object_id in enumerate((3, 1, 2)):
        np.testing.assert_array_equal(user.labels == object_id, disks.mask(number))
