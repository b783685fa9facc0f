"""Data that scripts assign to the layers in use, however odd: it works, or a sentence says why.

napari itself raises an error at some of them, but keeps the data.
"""

from contextlib import suppress
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

pytestmark = pytest.mark.gui

SHAPE = (60, 80)
BOX = np.array([[10.0, 14], [10, 34], [30, 34], [30, 14]])


def assign(layer: Any, data: Any) -> None:
    """Assign data as a script does that ignores napari's errors."""
    with suppress(Exception):
        layer.data = data


def work(desk: Any, *position: int) -> str:
    """Click and commit. Returns what the status said after the click."""
    said = ""
    if desk.job is not None:
        desk.click(*position)
        said = desk.status
    desk.commit()
    desk.settle()
    return said or desk.status


def masked(data: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(data, mask=np.eye(*SHAPE, dtype=bool))


def test_labels_that_cannot_be_used_are_replaced_and_it_is_said(open_desk, make_disks) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    zeros = np.zeros(SHAPE, np.uint16)
    for odd in (
        [zeros, zeros[::2, ::2]],
        [np.zeros((2, *SHAPE), int), np.zeros((2, 30, 40), int)],
        da.zeros(SHAPE, dtype=int),
        zeros.astype(object),
        np.zeros((0, 80), int),
        np.zeros((3, *SHAPE), int),
        np.broadcast_to(zeros, SHAPE),
    ):
        former = desk.objects
        assign(former, odd)
        said = desk.status, work(desk, *disks.centres[0])
        assert desk.objects is not former
        lost = f'"{former.name}" no longer fits the image or cannot be written.'
        assert any(text.startswith(lost) for text in said)
        np.testing.assert_array_equal(desk.labels > 0, disks.mask(0))
    assert desk.notifications == []
    desk.click(*disks.centres[1])
    assign(desk.objects, zeros.astype(object))
    desk.commit()
    assert "no longer holds labels of shape (60, 80)" in desk.notifications[0]
    assert f'Objects are now saved to "{desk.objects.name}"' in desk.status
    desk.commit()
    np.testing.assert_array_equal(desk.labels > 0, disks.mask(1))


def test_labels_of_any_kind_that_can_be_written_stay_in_use(
    open_desk, make_disks, tmp_path
) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    former = desk.objects
    zeros = np.zeros(SHAPE, np.uint16)
    array = zarr.create_array(tmp_path / "labels.zarr", shape=SHAPE, dtype="u2")
    kinds = (masked(zeros), zeros.astype(">u2"), np.zeros((120, 160), int)[::2, ::2], array)
    for data in kinds:
        former.data = data
        work(desk, *disks.centres[0])
        assert desk.objects is former
        np.testing.assert_array_equal(desk.labels > 0, disks.mask(0))
    assert desk.notifications == []


def test_objects_with_negative_ids_say_that_they_cannot_be_corrected(
    open_desk, make_disks
) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    desk.objects.data = np.full(SHAPE, -1)
    work(desk, *disks.centres[0])
    assert (desk.labels == -1).all()
    desk.widget.controller.object_actions.pick((), np.array(disks.centres[0]))
    assert desk.status.startswith("object id -1 was given; ids start at 1")


def test_dask_labels_are_not_offered_and_stay_as_they_are(open_desk, make_disks) -> None:
    disks = make_disks()
    truth = da.from_array(disks.truth)

    def add_labels(viewer: Any) -> None:
        viewer.add_labels(truth, name="lazy")
        viewer.add_labels([truth, truth[::2, ::2]], name="lazy levels", multiscale=True)

    desk = open_desk(disks.image, before=add_labels)
    assert desk.offers("labels") == ["image objects", "new layer"]
    work(desk, *disks.centres[1])
    np.testing.assert_array_equal(desk.labels == 1, disks.mask(1))
    desk.viewer.layers.remove("image objects")
    desk.process_events()
    work(desk, *disks.centres[0])
    np.testing.assert_array_equal(desk.labels == 1, disks.mask(0))
    assert desk.viewer.layers["lazy"].data is truth


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # napari's, of images without pixels
def test_images_that_cannot_be_segmented_say_so(open_desk, make_disks) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    numbers = disks.image
    for odd, expected in (
        ([numbers, numbers[::2, ::2]], "holds no array"),
        (numbers.tolist(), "holds no array"),
        (numbers[:0], "holds an array of shape (0, 80)"),
        (numbers.astype(object), "dtype object was given; allowed are"),
        (numbers + 1j, "dtype complex128 was given; allowed are"),
    ):
        desk.click(*disks.centres[0])
        assign(desk.image, odd)
        work(desk, 5, 5)
        desk.widget.controller.display.say("")
        desk.click(5, 5) if desk.job is not None else None
        assert expected in desk.status
        assert not desk.scheduler.is_busy
        desk.image.data = numbers
        desk.settle()
        desk.press("N")
        work(desk, *disks.centres[0])
        np.testing.assert_array_equal(desk.labels > 0, disks.mask(0))
        desk.push("undo")
    assign(desk.image, numbers[0])  # napari cannot show this layer any more
    work(desk, 5, 5)
    desk.widget.controller.display.say("")
    assert "holds an array of shape (80,)" in desk.status


def test_images_of_any_kind_that_can_be_segmented_are_segmented(
    open_desk, make_disks, tmp_path
) -> None:
    disks = make_disks()
    desk = open_desk(disks.image * 100)
    array = zarr.create_array(tmp_path / "image.zarr", shape=SHAPE, dtype="f4")
    array[:] = disks.image * 100
    for data in (
        da.from_array(disks.image, chunks=(20, 30)),
        array,
        masked(disks.image),
        disks.image > 0.5,
        (disks.image * 1000).astype(">u2"),
        disks.image.astype(np.float16),
    ):
        desk.image.data = data
        desk.settle()
        work(desk, *disks.centres[0])
        np.testing.assert_array_equal(desk.labels > 0, disks.mask(0))
        desk.push("undo")
        desk.press("N")
    assert desk.notifications == []


def test_the_preview_takes_its_own_data_back(open_desk, make_disks) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    zeros = np.zeros(SHAPE, np.uint8)
    for odd in (
        [zeros, zeros[::2, ::2]],
        da.zeros(SHAPE, dtype=int),
        zeros.astype(object),
        np.zeros((3, *SHAPE), int),
        np.ones((7, 9), bool),
        None,
    ):
        assign(desk.preview, odd)
        desk.press("N")
        desk.click(*disks.centres[0])
        np.testing.assert_array_equal(desk.preview_mask, disks.mask(0))
    assert desk.notifications == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # napari's, of places without numbers
def test_points_and_boxes_that_are_no_places_block_nothing(open_desk, make_disks) -> None:
    disks = make_disks()
    desk = open_desk(disks.image)
    nowhere = np.array([[np.nan, 3]])
    odd_points = (nowhere, [[np.inf, 3]], [[1e300, 2]], [[0, 20, 24]], [[4]], "a", [[-70, 3]])
    odd_boxes = (np.where(BOX == 10, np.nan, BOX), BOX * 1e30, BOX[:1], BOX + 500, "a")
    for layer, odds in (("points", odd_points), ("boxes", [[box] for box in odd_boxes])):
        for odd in odds:
            assign(getattr(desk, layer), odd)
            desk.process_events()
            desk.push("clear_prompts") if desk.session.prompts.of_current else None
            desk.press("N")
            desk.press("Shift-C")
            desk.points.data, desk.boxes.data = np.empty((0, 2)), []
            desk.click(*disks.centres[0])
            np.testing.assert_array_equal(desk.preview_mask, disks.mask(0))
    places = np.array([disks.centres[0]], object)
    desk.points.data = places
    desk.click(22, 24)
    assert desk.session.prompts.of_current[()].points_yx.tolist() == [[20, 24], [22, 24]]
