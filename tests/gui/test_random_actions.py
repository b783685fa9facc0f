"""Random sequences of what a user may do: nothing raises, and what is said is what changed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_promptable.annotation.history import TOUCH_UPS
from napari_promptable.annotation.session_folder import SessionFolder
from napari_promptable.annotation.touch_up import split_object, touch_up

pytestmark = pytest.mark.gui

PLANE = (40, 48)
ON_PLANE = [(10, 10), (28, 34), (30, 14)]

OF_OTHERS = {
    "paint",
    "paint_elsewhere",
    "write_in_place",
    "replace_labels",
    "replace_pixels",
    "change_axes",
    "reopen",
}
"""Acts that change labels without the history, or what the history is of."""


class Habits:
    """Acts at random on a desk, and checks after each act."""

    def __init__(self, desk, random: np.random.Generator, centres) -> None:
        self.desk, self.random, self.centres = desk, random, centres
        self.shape = desk.image.data.shape
        self.done: list[str] = []

    # what a user may do

    def click_object(self) -> None:
        self._click(self.centres[self.random.integers(len(self.centres))])

    def click_anywhere(self) -> None:
        self._click((*self._index(), *self.random.uniform((-5, -5), (45, 53))))

    def _index(self) -> tuple[int, ...]:
        """Any plane."""
        return tuple(int(self.random.integers(length)) for length in self.shape[:-2])

    def _click(self, position) -> None:
        layers = self.desk.job.layers
        layers.activate_tool(self.random.choice(["positive", "positive", "negative"]))
        layers.points.add([np.asarray(position, float)])

    def drag_box(self) -> None:
        index = self._index()
        top, left = self.random.uniform(0, 30, 2)
        corners = [(top, left), (top, left + 9), (top + 9, left + 9), (top + 9, left)]
        self.desk.job.layers.activate_tool("box")
        shape = [[*index, y, x] for y, x in corners]
        self.desk.job.layers.boxes.add(shape, shape_type="rectangle")

    def draw_line(self) -> None:
        index = self._index()
        path = [[*index, 3, 3], [*index, 9, 9]]
        self.desk.job.layers.boxes.add(path, shape_type=self.random.choice(["path", "line"]))

    def draw_outline(self) -> None:
        index = self._index()
        kind = self.random.choice(["polygon", "ellipse"])
        corners = [(4, 4), (4, 16), (16, 16), (16, 4)]
        self.desk.job.layers.boxes.add([[*index, y, x] for y, x in corners], shape_type=kind)

    def move_clicks(self) -> None:
        points = self.desk.job.layers.points
        points.data = points.data + 1

    def delete_clicks(self) -> None:
        points = self.desk.job.layers.points
        points.selected_data = set(range(0, len(points.data), 2))
        points.remove_selected()

    def delete_shapes(self) -> None:
        boxes = self.desk.job.layers.boxes
        boxes.selected_data = set(range(0, len(boxes.data), 2))
        boxes.remove_selected()

    def commit(self) -> None:
        self.actions.commit()

    def start_another(self) -> None:
        self.actions.new_object()

    def select_any(self) -> None:
        self.actions.select_object(int(self.random.integers(1, 6)))

    def undo(self) -> None:
        self.random.choice([self.actions.undo, self.actions.undo_step])()

    def redo(self) -> None:
        self.random.choice([self.actions.redo, self.actions.redo_step])()

    def clear(self) -> None:
        self.actions.clear_prompts()

    def make_boxes_objects(self) -> None:
        self.actions.boxes_to_objects()

    def next_candidate(self) -> None:
        self.controller.candidate_actions.choose_next()

    def go_to_slice(self) -> None:
        for axis, position in enumerate(self._index()):
            self.desk.viewer.dims.set_point(axis, position)

    def look_at_the_volume(self) -> None:
        self.desk.viewer.dims.ndisplay = 3
        self.desk.settle()
        self.desk.viewer.dims.ndisplay = 2

    def change_axes(self) -> None:
        axes = tuple(range(len(self.shape)))
        self.desk.viewer.dims.order = (*axes[1:-1], axes[0], axes[-1])
        self.desk.settle()
        self.desk.viewer.dims.order = axes

    def delete(self) -> None:
        self.objects.delete(self.session.records.object_ids[:1])

    def merge(self) -> None:
        self.objects.merge(self.session.records.object_ids[:2])

    def relabel(self) -> None:
        for object_id in self.session.records.object_ids[:1]:
            self.objects.relabel(object_id, int(self.random.integers(1, 9)))

    def refine(self) -> None:
        self.objects.refine_selected(self.session.records.object_ids[-1:])

    def touch_up(self) -> None:
        ids = self.session.records.object_ids[:2]
        verb = TOUCH_UPS[self.random.integers(len(TOUCH_UPS))]
        if ids:
            self.controller.performer.perform_and_note(touch_up, self.session, verb, ids)

    def split(self) -> None:
        index = self._index()
        on_slice = list(self.session.records.on(index))[:1]
        for object_id in on_slice:
            line = self.random.uniform(0, 48, (2, 2))
            self.controller.performer.perform_and_note(
                split_object, self.session, object_id, line, index
            )

    def classify(self) -> None:
        ids = self.session.records.object_ids[:2]
        self.controller.class_actions.classify(ids, str(self.random.choice(["a", "b", ""])))

    def choose_class(self) -> None:
        self.controller.class_actions.use_number(int(self.random.integers(3)))

    def choose_policy(self) -> None:
        self.objects.set_policy(self.random.choice(["keep", "replace", "add"]))

    def paint(self) -> None:
        labels = self.desk.job.labels_layer
        labels.paint(np.floor(self.random.uniform(0, self.shape)), int(self.random.integers(9)))

    def paint_elsewhere(self) -> None:
        labels = self.desk.job.labels_layer
        labels.n_edit_dimensions, labels.brush_size = len(self.shape), 5
        self.paint()
        labels.n_edit_dimensions = 2

    def write_in_place(self) -> None:
        labels = self.desk.job.labels_layer
        labels.data[..., 30:35, 5:9] = int(self.random.integers(9))
        labels.refresh()

    def replace_labels(self) -> None:
        labels = self.desk.job.labels_layer
        labels.data = np.roll(labels.data, 3, axis=-1)

    def reopen(self) -> None:
        self.desk.close()
        self.desk.open()

    def rename(self) -> None:
        layers = self.desk.viewer.layers
        layer = layers[self.random.integers(len(layers))]
        layer.name = f"{layer.name}'"

    def propagate(self) -> None:
        self.controller.volume_actions.propagate()

    def mark_absent(self) -> None:
        self.controller.volume_actions.review.not_here()

    def accept(self) -> None:
        self.controller.volume_actions.review.looks_right()

    def cancel(self) -> None:
        self.actions.cancel()

    def replace_pixels(self) -> None:
        self.desk.image.data = np.asarray(self.desk.image.data).copy()

    def hide_an_object(self) -> None:
        for object_id in self.session.records.object_ids[:1]:
            is_visible = bool(self.random.integers(2))
            self.controller.object_view.set_visible(object_id, is_visible)

    def drop_a_layer(self) -> None:
        layers = self.desk.job.layers
        ours = [layers.points, layers.boxes, layers.preview]
        layer = ours[self.random.integers(3)]
        if layer is not None:
            self.desk.viewer.layers.remove(layer)
            self.desk.settle()
            layers.activate_tool("positive")

    # what must hold

    @property
    def controller(self):
        return self.desk.widget.controller

    @property
    def actions(self):
        return self.controller.actions

    @property
    def objects(self):
        return self.controller.object_actions

    @property
    def session(self):
        return self.desk.job.session

    def act(self, name: str) -> None:
        self.done.append(name)
        before = np.array(self.desk.job.labels_layer.data)
        num_changes = len(self.session.history.changes)
        self.controller.display.say("")
        getattr(self, name)()
        self.desk.wait_idle()
        self.desk.settle()
        self.check(name, before, num_changes)

    def undo_all(self) -> None:
        while self.session.history.can_undo:
            self.act("undo")

    def redo_all(self) -> None:
        while self.session.history.can_redo:
            self.act("redo")

    def read_saved(self) -> np.ndarray:
        """Save, and read the labels that a restart would find."""
        autosave = self.controller.autosave
        autosave.follow(self.desk.job)  # as at closing
        labels = np.zeros_like(self.desk.job.labels_layer.data)
        for block, pixels in SessionFolder(autosave.folder_of(self.session)).read_blocks():
            labels[block.region(self.desk.job.planes)] = pixels
        return labels

    def check(self, name: str, before: np.ndarray, num_changes: int) -> None:
        after = np.asarray(self.desk.job.labels_layer.data)
        num_pixels = int((before != after).sum())
        status = self.desk.status
        said = re.search(
            r"(?:saved|deleted|undone|redone|object \d+|removed|filled|smoothed|cleaned|grown"
            r"|shrunk|propagated|and \d+): ([\d,]+) pixel",
            status,
        )
        where = f"{status!r} after {self.done[-12:]}"
        if said and name not in OF_OTHERS:
            assert int(said[1].replace(",", "")) == num_pixels, where
        if " was not saved" in status or status.startswith("Nothing "):
            assert num_pixels == 0, where
        if name not in {*OF_OTHERS, "undo", "redo"} and not num_pixels:
            changes = self.session.history.changes[num_changes:]
            assert all(not change.patches for change in changes), where
        self.check_records(after, where)
        layers = self.desk.job.layers
        if layers.points is not None:
            assert len(layers.points.data) == len(layers.points.features), where
        if layers.boxes is not None:
            assert len(layers.boxes.data) == len(layers.boxes.features), where
        errors = [r for r in notification_manager.records if getattr(r, "exception", None)]
        assert not errors, where

    def check_records(self, labels: np.ndarray, where: str) -> None:
        """The list of objects holds exactly the ids in the labels."""
        ids = set(np.unique(labels).tolist()) - {0}
        assert set(self.session.records.object_ids) == ids, where


NAMES = [
    name
    for name in vars(Habits)
    if not name.startswith("_")
    and name not in ("act", "check", "check_records", "undo_all", "redo_all", "read_saved")
    and not isinstance(vars(Habits)[name], property)
]


def open_habits(make_desk, make_disks, stack: tuple[int, ...], seed: int, dtype: str):
    """A desk with an image, and with a labels layer of the user if it has a dtype."""
    notification_manager.records.clear()
    shape = (*stack, *PLANE)
    centres = [(*index, *place) for index in np.ndindex(stack) for place in ON_PLANE]
    desk = make_desk(make_disks(shape, centres).image)
    if dtype:
        labels = np.zeros(shape, dtype)
        labels[..., :2, :2] = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**40)
        desk.viewer.add_labels(labels, name="mine")
    desk.open()
    if dtype:
        desk.choose("labels", "mine")
        desk.wait_idle()
    return Habits(desk, np.random.default_rng(seed), centres)


@pytest.mark.parametrize(
    ("stack", "seed", "dtype"),
    [
        ((3,), 0, ""),
        ((3,), 1, "uint64"),
        ((), 2, "bool"),
        ((2, 2), 3, "uint8"),
        ((3,), 4, "int8"),
        ((), 5, ""),
        ((2, 3), 6, ""),
    ],
)
def test_random_actions_lose_nothing_and_say_what_they_did(
    make_desk, make_disks, stack, seed, dtype
) -> None:
    habits = open_habits(make_desk, make_disks, stack, seed, dtype)
    for _ in range(40):
        names = ["click_object"] * 4 + ["commit"] * 4 + NAMES
        habits.act(str(habits.random.choice(names)))
    habits.undo_all()
    shown = np.array(habits.desk.job.labels_layer.data)
    np.testing.assert_array_equal(habits.read_saved(), shown)


@pytest.mark.parametrize(
    ("stack", "seed", "dtype"),
    [((3,), 10, ""), ((3,), 11, "uint64"), ((), 12, "int8"), ((2, 2), 13, "bool")],
)
def test_undo_of_all_leaves_the_labels_as_they_were(
    make_desk, make_disks, stack, seed, dtype
) -> None:
    habits = open_habits(make_desk, make_disks, stack, seed, dtype)
    before = np.array(habits.desk.job.labels_layer.data)
    names = ["click_object"] * 4 + ["commit"] * 4 + sorted({*NAMES} - OF_OTHERS)
    for _ in range(40):
        habits.act(str(habits.random.choice(names)))
    habits.redo_all()
    after = np.array(habits.desk.job.labels_layer.data)
    habits.undo_all()
    np.testing.assert_array_equal(habits.desk.job.labels_layer.data, before)
    habits.redo_all()
    np.testing.assert_array_equal(habits.desk.job.labels_layer.data, after)
