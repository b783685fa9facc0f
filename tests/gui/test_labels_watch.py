"""Whatever changes the labels is found and saved, wherever it reaches. No window is needed."""

from contextlib import suppress

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_promptable.annotation.session_folder import SessionFolder
from napari_promptable.errors import CacheError
from napari_promptable.gui.layers.labels_watch import LabelsWatch, look_at
from napari_promptable.planes import PlaneAxes
from napari_promptable.weights.checkpoints import cache_root

pytestmark = pytest.mark.gui

SHAPE = (6, 60, 80)


@pytest.fixture
def stack_desk(make_desk, make_disks):
    """A stack on whose slice in view, 2, one object is committed."""
    desk = make_desk(make_disks(SHAPE, [(2, 20, 24)]).image)
    desk.viewer.dims.set_current_step(0, 2)
    desk.open()
    desk.click(2, 20, 24)
    desk.commit()
    return desk


def brush(layer) -> None:
    layer.n_edit_dimensions, layer.brush_size = 3, 3
    layer.paint((2, 40, 20), 11)


def bucket(layer) -> None:
    layer.n_edit_dimensions = 3
    layer.fill((2, 50, 50), 13)


def write_in_place(layer) -> None:
    layer.data[:, 5:10, 5:10] = 14
    layer.refresh()


def replace_data(layer) -> None:
    data = layer.data.copy()
    data[:, 5:10, 20:25] = 15
    layer.data = data


def write_where_an_object_is(layer) -> None:
    """No object comes or goes, and none gets another extent."""
    layer.data[4, 5:10, 5:10] = 14
    layer.refresh()
    layer.data[4, 7, 7] = 0
    layer.refresh()


def write_without_a_word(layer) -> None:
    layer.data[5, 30:40, 30:40] = 16


REPORTED = [brush, bucket, write_in_place, replace_data, write_where_an_object_is]


def saved_labels() -> np.ndarray:
    """The labels that a restored session would have."""
    labels = np.zeros(SHAPE, int)
    for document in (cache_root() / "sessions").glob("*/*/prompts.json"):
        with suppress(CacheError):  # a save has just replaced a file
            for block, plane in SessionFolder(document.parent).read_blocks():
                labels[block.index] = plane
    return labels


@pytest.mark.parametrize("edit", REPORTED)
def test_changes_on_many_slices_are_saved_while_an_encoder_works(
    stack_desk, edit, fake_model
) -> None:
    fake_model.encode_gate.clear()
    stack_desk.viewer.dims.set_current_step(0, 0)
    stack_desk.viewer.dims.set_current_step(0, 2)
    layer = stack_desk.job.labels_layer
    edit(layer)
    stack_desk.wait_for(lambda: np.array_equal(saved_labels(), layer.data))
    ids = set(np.unique(layer.data)) - {0}
    assert set(stack_desk.job.session.records.object_ids) == ids


@pytest.mark.parametrize("edit", [*REPORTED, write_without_a_word])
def test_changes_right_before_closing_are_saved(stack_desk, edit) -> None:
    layer = stack_desk.job.labels_layer
    edit(layer)
    stack_desk.close()
    np.testing.assert_array_equal(saved_labels(), layer.data)


def test_strokes_that_never_pause_are_saved(stack_desk) -> None:
    layer = stack_desk.job.labels_layer
    autosave = stack_desk.widget.controller.autosave
    layer.paint((2, 40, 20), 11)
    stack_desk.wait_for(autosave._timer.isActive)
    left = autosave._timer.remainingTime()
    autosave._note_change()
    assert autosave._timer.remainingTime() <= left


def test_own_commits_are_scanned_on_their_slices_only(make_disks) -> None:
    viewer, planes = ViewerModel(), PlaneAxes(SHAPE, (1, 2))
    layer = viewer.add_labels(np.zeros(SHAPE, int))
    watch = LabelsWatch(layer, planes, viewer.dims, is_new=True)
    watch.visible = (0,)
    watch.redraw([(3,)])
    assert watch.take(10) == [(3,)]
    viewer.dims.set_current_step(0, 1)
    assert watch.take(10) == [(0,)]
    layer.refresh()
    assert sorted(watch.take(10)) == [(0,), *((z,) for z in range(6))]


def test_changes_during_a_sweep_lengthen_it() -> None:
    viewer, planes = ViewerModel(), PlaneAxes(SHAPE, (1, 2))
    layer = viewer.add_labels(np.zeros(SHAPE, int))
    watch = LabelsWatch(layer, planes, viewer.dims, is_new=False)
    assert watch.take(4) == [(0,), (1,), (2,), (3,)]
    layer.refresh()
    assert watch.take(10) == [(4,), (5,), (0,), (1,), (2,), (3,)]


def test_a_look_tells_only_what_differs() -> None:
    labels = np.zeros(SHAPE, int)
    planes = PlaneAxes(SHAPE, (1, 2))
    seen: dict = {}
    first = look_at(labels, planes, planes.indices(), seen)
    seen |= {index: look.digest for index, look in first.planes.items()}
    assert not look_at(labels, planes, planes.indices(), seen).planes
    labels[4, 3, 5:7] = 9
    [(index, look)] = look_at(labels, planes, planes.indices(), seen).planes.items()
    assert index == (4,)
    assert look.extents == {9: (slice(3, 4), slice(5, 7))}
