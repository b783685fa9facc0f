"""Positions between napari's world and image pixels, without a window."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    POSITIVE,
    make_boxes_layer,
    make_objects_layer,
    make_points_layer,
    next_click,
    plane_axes_of,
    restore_ids,
    set_next_click,
    visible_index,
)
from napari_promptable.gui.layers.axes import axis_names, channel_choices, propagation_axes
from napari_promptable.gui.layers.following import copy_transform, transform_of
from napari_promptable.gui.layers.layer_labels import LayerLabels, is_labels_layer_for
from napari_promptable.gui.layers.preview import make_preview_layer
from napari_promptable.gui.layers.prompt_values import read_layers, write_layers
from napari_promptable.planes import Channel, PlaneAxes
from napari_promptable.prompts import PlanePrompts

STACK = PlaneAxes((4, 20, 30), (1, 2))
FLAT_TURN = ((1, 0, 0), (0, 0.8, -0.6), (0, 0.6, 0.8))


def to_image(image):
    """Map positions on a layer to image pixels as the widget does."""
    return lambda layer, positions: np.array(
        [image.world_to_data(layer.data_to_world(position)) for position in positions]
    )


@st.composite
def placed_images(draw) -> Image:
    """Images of 2 to 5 dimensions anywhere in the world."""
    ndim = draw(st.integers(2, 5))
    shape = draw(st.tuples(*[st.integers(2, 6)] * ndim))
    size = st.floats(0.05, 20)
    scale = draw(st.tuples(*[st.one_of(size, size.map(operator.neg))] * ndim))
    translate = draw(st.tuples(*[st.floats(-500, 500)] * ndim))
    shear = draw(st.tuples(*[st.floats(-0.8, 0.8)] * (ndim * (ndim - 1) // 2)))
    rotation = np.eye(ndim)
    for axis in range(ndim - 1):
        angle = draw(st.floats(-np.pi, np.pi))
        turn = np.eye(ndim)
        turn[axis : axis + 2, axis : axis + 2] = [
            [np.cos(angle), -np.sin(angle)],
            [np.sin(angle), np.cos(angle)],
        ]
        rotation = rotation @ turn
    affine = np.eye(ndim + 1)
    affine[:-1, -1] = draw(st.tuples(*[st.floats(-50, 50)] * ndim))
    affine[0, -2] = draw(st.floats(-0.5, 0.5))
    return Image(
        np.zeros(shape),
        scale=scale,
        translate=translate,
        rotate=rotation,
        shear=shear,
        affine=affine,
    )


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@settings(max_examples=50)
@given(st.data(), placed_images())
def test_prompts_survive_the_way_through_the_world(data, image) -> None:
    order = data.draw(st.permutations(range(image.ndim)))
    viewer = ViewerModel()
    viewer.add_layer(image)
    viewer.dims.order = order
    planes = plane_axes_of(image, viewer.dims)
    assert planes is not None
    assert planes.axes == tuple(sorted(order[-2:]))
    index = tuple(
        data.draw(st.integers(0, planes.shape[axis] - 1)) for axis in planes.other_axes
    )
    height, width = planes.plane_shape
    point = [data.draw(st.floats(0, height - 1)), data.draw(st.floats(0, width - 1))]
    points = make_points_layer(image, planes, object_id=3)
    position = planes.join(index, np.array([point]))[0]
    world = image.data_to_world(position)
    np.testing.assert_allclose(points.data_to_world(position), world)
    points.add(points.world_to_data(world))
    [(found, prompts)] = read_layers(points, None, to_image(image), planes).items()
    assert found == index
    np.testing.assert_allclose(prompts.points_yx, [point], atol=1e-2)
    np.testing.assert_allclose(
        image.data_to_world(planes.join(found, prompts.points_yx)[0]), world, atol=1
    )


@settings(max_examples=50)
@given(st.data())
def test_slice_in_view_is_the_nearest(data) -> None:
    ndim = data.draw(st.integers(2, 5))
    shape = data.draw(st.tuples(*[st.integers(2, 6)] * ndim))
    scale = data.draw(st.tuples(*[st.floats(0.1, 10)] * ndim))
    translate = data.draw(st.tuples(*[st.floats(-100, 100)] * ndim))
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape), scale=scale, translate=translate)
    viewer.add_image(np.zeros([30] * ndim), translate=[-15] * ndim)
    viewer.dims.order = data.draw(st.permutations(range(ndim)))
    planes = plane_axes_of(image, viewer.dims)
    index = tuple(
        data.draw(st.integers(0, planes.shape[axis] - 1)) for axis in planes.other_axes
    )
    world = image.data_to_world(planes.join(index, np.zeros((1, 2)))[0])
    viewer.dims.set_point(range(ndim), world)
    position = image.world_to_data(viewer.dims.point)[list(planes.other_axes)]
    is_unambiguous = (np.abs(position - np.rint(position)) < 0.49).all()
    if is_unambiguous and (np.abs(position - index) < 0.49).all():
        assert visible_index(image, planes, viewer.dims) == index
    viewer.dims.set_point(range(ndim), [10_000] * ndim)
    far = image.world_to_data(viewer.dims.point)[list(planes.other_axes)]
    is_inside = planes.contains(tuple(np.rint(far).astype(int)))
    assert (visible_index(image, planes, viewer.dims) is not None) == is_inside


@pytest.mark.parametrize("is_rgb", [False, True])
def test_layer_of_fewer_dimensions_has_the_last_axes(is_rgb) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 20, 30)))
    flat = viewer.add_image(np.zeros((20, 30, 3) if is_rgb else (20, 30)), rgb=is_rgb)
    assert plane_axes_of(flat, viewer.dims) == PlaneAxes((20, 30), (0, 1))
    assert visible_index(flat, PlaneAxes((20, 30), (0, 1)), viewer.dims) == ()
    viewer.dims.order = (2, 3, 0, 1)
    assert plane_axes_of(flat, viewer.dims) is None  # the axes in view are not its own


def test_channels_are_those_of_rgb_or_of_short_axes() -> None:
    rgb = Image(np.zeros((40, 50, 3), np.uint8), rgb=True)
    names = [name for name, _ in channel_choices(rgb, PlaneAxes((40, 50), (0, 1)))]
    assert names == ["all", "red", "green", "blue"]
    stack = Image(np.zeros((2, 40, 30, 20)), axis_labels=("c", "z", "y", "x"))
    choices = channel_choices(stack, PlaneAxes(stack.data.shape, (2, 3)))
    assert choices == [
        ("as shown", None),
        ("channel 1 of 2", Channel(0, (0,))),
        ("channel 2 of 2", Channel(0, (1,))),
        ("channels 1, 2 as RGB", Channel(0, (0, 1))),
    ]
    many = Image(np.zeros((4, 40, 30)))
    names = [name for name, _ in channel_choices(many, PlaneAxes((4, 40, 30), (1, 2)))]
    assert len(names) == 1 + 4 + 4
    assert names[-1].endswith("2, 3, 4 as RGB")


def test_prompts_written_are_read_again() -> None:
    image = Image(np.zeros(STACK.shape), scale=(3, 0.5, 0.5), rotate=FLAT_TURN)
    prompts = {
        (1,): PlanePrompts([[3, 4], [5.5, 6]], [1, 0], [[1, 2, 9, 12]], (), (None, 2)),
        (3,): PlanePrompts([], [], [], (np.array([[1, 1], [1, 9], [8, 5]], np.float32),)),
    }
    points, boxes = make_points_layer(image, STACK, 7), make_boxes_layer(image, STACK, 7)
    set_next_click(points, NEGATIVE)
    write_layers(points, boxes, STACK, 7, prompts)
    assert next_click(points) == NEGATIVE
    assert list(points.features["label"]) == [POSITIVE, NEGATIVE]
    assert list(boxes.features["object_id"]) == [7, 7]
    read = read_layers(points, boxes, to_image(image), STACK)
    assert read.keys() == prompts.keys()
    np.testing.assert_allclose(read[1,].points_yx, prompts[1,].points_yx, atol=1e-4)
    np.testing.assert_allclose(read[1,].boxes_yxyx, prompts[1,].boxes_yxyx, atol=1e-4)
    np.testing.assert_allclose(read[3,].polygons_yx[0], prompts[3,].polygons_yx[0], atol=1e-4)
    assert read[1,].refines == (None, 2)
    points.features, boxes.features = {"object_id": [8, 8]}, {"object_id": [8, 7]}
    assert read_layers(points, boxes, to_image(image), STACK).keys() == prompts.keys()
    assert restore_ids(points, 7) and restore_ids(boxes, 7)
    assert list(points.features["object_id"]) == list(boxes.features["object_id"]) == [7, 7]
    assert not restore_ids(points, 7) and not restore_ids(boxes, 7)
    write_layers(points, boxes, STACK, 7, {})
    assert read_layers(points, boxes, to_image(image), STACK) == {}


def test_missing_layers_hold_no_prompts() -> None:
    write_layers(None, None, STACK, 1, {(0,): PlanePrompts([[1, 2]], [1])})
    assert read_layers(None, None, to_image(None), STACK) == {}


def test_prompts_outside_of_the_stack_are_left_out() -> None:
    image = Image(np.zeros(STACK.shape))
    points = make_points_layer(image, STACK, 1)
    points.add([[-1, 3, 4], [2.4, 3, 4], [9, 3, 4]])
    [index] = read_layers(points, None, to_image(image), STACK)
    assert index == (2,)


def test_the_next_click_leaves_former_ones_alone() -> None:
    points = make_points_layer(Image(np.zeros(STACK.shape)), STACK, 1)
    points.add([1, 3, 4])
    points.selected_data = {0}
    colour = points.face_color.copy()
    set_next_click(points, NEGATIVE)
    points.add([1, 5, 6])
    assert list(points.features["label"]) == [POSITIVE, NEGATIVE]
    np.testing.assert_array_equal(points.face_color[:1], colour)
    assert (points.face_color[1] != colour[0]).any()
    assert points.symbol[0] != points.symbol[1]


def test_possible_labels_layers() -> None:
    image = Image(np.zeros(STACK.shape))
    assert is_labels_layer_for(make_objects_layer(image, STACK), STACK)
    assert is_labels_layer_for(make_preview_layer(image, STACK), STACK)
    assert not is_labels_layer_for(Labels(np.zeros((20, 30), int)), STACK)
    assert not is_labels_layer_for(image, STACK)


def test_layer_labels_are_written_in_place() -> None:
    layer = make_objects_layer(Image(np.zeros(STACK.shape)), STACK)
    data, labels = layer.data, LayerLabels(layer)
    labels[STACK.region((2,), slice(3, 5), slice(4, 6))] = 9
    assert labels.dtype == np.uint16
    assert layer.data is data
    assert data.sum() == 36
    np.testing.assert_array_equal(labels[STACK.region((2,))], data[2])


def test_copied_transform_is_the_same_place() -> None:
    image = Image(np.zeros(STACK.shape), scale=(3, 2, 1), rotate=FLAT_TURN, shear=(0, 0, 0.1))
    other = make_preview_layer(Image(np.zeros(STACK.shape)), STACK)
    copy_transform(image, other)
    np.testing.assert_allclose(other.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3)))
    assert transform_of(other).keys() == transform_of(image).keys()


def test_boxes_drawn_after_others_are_the_current_objects() -> None:
    image = Image(np.zeros(STACK.shape))
    boxes = make_boxes_layer(image, STACK, 1)
    write_layers(None, boxes, STACK, 1, {(1,): PlanePrompts(boxes_yxyx=[[1, 2, 9, 12]])})
    write_layers(None, boxes, STACK, 2, {})
    boxes.add_rectangles([[1, 2, 3], [1, 2, 9], [1, 7, 9], [1, 7, 3]])
    assert boxes.features["object_id"].tolist() == [2]
    write_layers(None, boxes, STACK, 3, {(1,): PlanePrompts(boxes_yxyx=[[1, 2, 9, 12]] * 2)})
    assert boxes.features["object_id"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("names", "shape", "expected"),
    [
        (("z", "c", "y", "x"), (4, 2, 40, 30), [0]),
        (("t", "c", "y", "x"), (4, 2, 40, 30), [0]),
        (("Z", "Channel", "Y", "X"), (4, 2, 40, 30), [0]),
        (("t", "z", "y", "x"), (4, 2, 40, 30), [1, 0]),
        (("z", "t", "y", "x"), (4, 2, 40, 30), [0, 1]),
        (("c", "y", "x"), (3, 40, 30), []),
        (("-4", "-3", "-2", "-1"), (9, 2, 40, 30), [0, 1]),
        (("-4", "-3", "-2", "-1"), (9, 12, 40, 30), [1, 0]),
    ],
)
def test_the_best_axis_to_propagate_along_comes_first(names, shape, expected) -> None:
    planes = PlaneAxes(shape, (len(shape) - 2, len(shape) - 1))
    assert propagation_axes(names, planes) == expected


def test_z_and_time_are_no_channels() -> None:
    layer = Image(np.zeros((3, 4, 40, 30)), axis_labels=("t", "z", "y", "x"))
    planes = PlaneAxes((3, 4, 40, 30), (2, 3))
    assert channel_choices(layer, planes) == [("as shown", None)]
    layer = Image(np.zeros((3, 4, 40, 30)), axis_labels=("c", "-3", "y", "x"))
    assert {choice.axis for _, choice in channel_choices(layer, planes)[1:]} == {0}


def test_the_viewer_names_axes_that_the_layer_numbers() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((4, 2, 40, 30)))
    viewer.dims.axis_labels = ("z", "c", "y", "x")
    assert axis_names(layer, viewer.dims) == ("z", "c", "y", "x")
    layer.axis_labels = ("t", "-3", "row", "-1")
    assert axis_names(layer, viewer.dims) == ("t", "c", "row", "x")
