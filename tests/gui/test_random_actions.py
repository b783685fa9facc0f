"""Random sequences of what a user may do: nothing raises, and what is said is what changed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_promptable.annotation.history import TOUCH_UPS
from napari_promptable.annotation.touch_up import split_object, touch_up

pytestmark = pytest.mark.gui

SHAPE = (3, 40, 48)
CENTRES = [(0, 10, 10), (0, 28, 34), (1, 10, 10), (1, 30, 14), (2, 28, 34)]


class Habits:
    """Acts at random on a desk, and checks after each act."""

    def __init__(self, desk, random: np.random.Generator) -> None:
        self.desk, self.random = desk, random
        self.done: list[str] = []

    # what a user may do

    def click_object(self) -> None:
        self._click(CENTRES[self.random.integers(len(CENTRES))])

    def click_anywhere(self) -> None:
        self._click(self.random.uniform((0, -5, -5), (2, 45, 53)))

    def _click(self, position) -> None:
        layers = self.desk.job.layers
        layers.activate_tool(self.random.choice(["positive", "positive", "negative"]))
        layers.points.add([np.asarray(position, float)])

    def drag_box(self) -> None:
        z = self.random.integers(SHAPE[0])
        top, left = self.random.uniform(0, 30, 2)
        corners = [(top, left), (top, left + 9), (top + 9, left + 9), (top + 9, left)]
        self.desk.job.layers.activate_tool("box")
        self.desk.job.layers.boxes.add([[z, y, x] for y, x in corners], shape_type="rectangle")

    def draw_line(self) -> None:
        self.desk.job.layers.boxes.add([[0, 3, 3], [0, 9, 9]], shape_type="path")

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
        self.desk.viewer.dims.set_point(0, int(self.random.integers(SHAPE[0])))

    def look_at_the_volume(self) -> None:
        self.desk.viewer.dims.ndisplay = 3
        self.desk.settle()
        self.desk.viewer.dims.ndisplay = 2

    def change_axes(self) -> None:
        self.desk.viewer.dims.order = self.random.choice([(0, 1, 2), (1, 0, 2)])
        self.desk.settle()
        self.desk.viewer.dims.order = (0, 1, 2)

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
        z = int(self.random.integers(SHAPE[0]))
        on_slice = list(self.session.records.on((z,)))[:1]
        for object_id in on_slice:
            line = self.random.uniform(0, 48, (2, 2))
            self.controller.performer.perform_and_note(
                split_object, self.session, object_id, line, (z,)
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
        labels.paint(np.floor(self.random.uniform(0, SHAPE)), int(self.random.integers(9)))

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

    def check(self, name: str, before: np.ndarray, num_changes: int) -> None:
        after = np.asarray(self.desk.job.labels_layer.data)
        num_pixels = int((before != after).sum())
        status = self.desk.status
        said = re.search(
            r"(?:saved|deleted|undone|redone|object \d+|removed|filled|smoothed|cleaned|grown"
            r"|shrunk|and \d+): ([\d,]+) pixel",
            status,
        )
        where = f"{status!r} after {self.done[-12:]}"
        if said and name not in ("paint", "propagate"):
            assert int(said[1].replace(",", "")) == num_pixels, where
        if " was not saved" in status or status.startswith("Nothing "):
            assert num_pixels == 0, where
        if name not in ("paint", "undo", "redo", "propagate") and not num_pixels:
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
    and name not in ("act", "check", "check_records")
    and not isinstance(vars(Habits)[name], property)
]


@pytest.mark.parametrize("seed", range(4))
def test_random_actions_lose_nothing_and_say_what_they_did(make_desk, make_disks, seed) -> None:
    notification_manager.records.clear()
    random = np.random.default_rng(seed)
    desk = make_desk(make_disks(SHAPE, CENTRES).image)
    desk.open()
    habits = Habits(desk, random)
    for _ in range(60):
        name = str(random.choice(["click_object"] * 4 + ["commit"] * 4 + NAMES))
        habits.act(name)
    while desk.job.session.history.can_undo:
        habits.act("undo")
