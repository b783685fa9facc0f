"""Learning from committed objects: one button, a window of its own, a model in the list."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QLabel

from napari_promptable.annotation.records import (
    ObjectOnSlice,
    ObjectRecords,
    Origin,
    confirmed_planes,
)
from napari_promptable.gui.actions import learning
from napari_promptable.gui.work import learning as process_module
from napari_promptable.learning.process import WEIGHTS_NAME, write_job

pytestmark = pytest.mark.gui

CENTRES = [(20, 20), (20, 60), (40, 20), (40, 60), (55, 40)]
FREE_CENTRES = [(8, 40), (60, 72)]  # of disks that are not committed at first
STATE = {"phase": "learning", "step": 3, "seconds_left": 75.0, "curve": [[0, 2], [9, 1]]}
FIGURES = {"click": 0.5, "corrected": 0.6, "box": 0.7}


class FakeProcess:
    """Stands for the process: notes what it was given, reports what a test tells it to."""

    def __init__(self, learning, monkeypatch, tmp_path: Path) -> None:
        self.learning, self.started, self.path = learning, [], tmp_path / WEIGHTS_NAME
        monkeypatch.setattr(learning, "start", lambda *given: self.started.append(given))
        monkeypatch.setattr(type(learning), "weights_path", self.path)

    def finish(self, is_better: bool) -> None:
        header = json.dumps({"__metadata__": {"name": "tiny + 5 objects of image"}}).encode()
        self.path.write_bytes(struct.pack("<Q", len(header)) + header)
        after = {name: value + 0.1 for name, value in FIGURES.items()}
        self.learning.finished.emit(
            {"name": "tiny + 5 objects of image", "is_better": is_better}
            | {"before": FIGURES, "after": after}
        )


@pytest.fixture
def user(open_desk, make_disks):
    """A person who has committed five disks."""
    user = open_desk(make_disks((70, 80), CENTRES + FREE_CENTRES).image)
    for centre in CENTRES:
        user.click(centre)
        user.press("C")
    user.control("objects_fold").click()
    user.process_events()
    return user


@pytest.fixture
def process(user, monkeypatch, tmp_path):
    learning = user.widget.controller.learning_actions._learning
    return FakeProcess(learning, monkeypatch, tmp_path)


def test_committed_objects_are_learned_from_and_the_model_is_offered(user, process) -> None:
    user.push("learn")
    [(model, [(images, labels)], source)] = process.started
    assert (model, source) == ("tiny", "image")
    assert images.shape == labels.shape == (1, 70, 80)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}
    process.learning.progressed.emit(STATE)
    assert "1:15 left" in user.control("learn_text").text()
    process.finish(is_better=True)
    assert "0.50" in user.control("learn_text").text()
    user.push("use_learned")
    box = user.control("model")
    assert box.currentText() == "tiny + 5 objects of image"
    weights = Path(user.session.details["model"])
    assert weights.read_bytes() == process.path.read_bytes()
    folder = user.widget.controller.autosave.folder_of(user.session)
    assert weights.parent == folder


def test_learning_is_offered_with_the_fifth_object_and_only_then(user) -> None:
    assert user.status.endswith("Click the next, or Learn from these 5 (section Objects).")
    user.click(FREE_CENTRES[0])
    user.press("C")
    assert user.status.endswith("Click the next object.")
    user.click(FREE_CENTRES[1])
    assert "Learn" not in user.status


def test_correcting_the_fifth_object_does_not_offer_learning_again(user) -> None:
    user.choose_object(5)
    user.click(FREE_CENTRES[0])
    user.press("C")
    assert user.status.startswith("Object 5 saved")
    assert "Learn" not in user.status


def test_a_model_that_is_no_better_cannot_be_used(user, process) -> None:
    user.push("learn")
    process.finish(is_better=False)
    assert not user.control("use_learned").isEnabled()
    assert "Not better" in user.control("learn_text").text()
    user.push("discard_learned")
    assert user.control("model").currentText().startswith("tiny · ")


def test_learning_can_be_cancelled(user, process, monkeypatch) -> None:
    user.push("learn")
    monkeypatch.setattr(type(process.learning), "is_running", True)
    user.push("cancel_learning")
    assert "cancelled" in user.status
    assert not user.widget.controller.panel.learning.isVisible()


def test_objects_of_all_images_with_these_labels_are_learned_from(
    user, process, make_disks
) -> None:
    other = user.viewer.add_image(make_disks((70, 80), CENTRES).image.max() - user.image.data)
    other.name = "inverse"
    labels = user.session
    user.choose("image", "inverse")
    user.choose("labels", "image objects")
    assert user.session is labels
    user.click((5, 5))
    user.press("C")
    user.push("learn")
    [(_, examples, _)] = process.started
    assert len(examples) == 2
    seen = {int(labels.max()): images for images, labels in examples}
    np.testing.assert_array_equal(seen[5][0], user.viewer.layers["image"].data)
    np.testing.assert_array_equal(seen[6][0], other.data)


def test_a_complete_field_is_learned_from_with_all_its_labels(user, process) -> None:
    user.viewer.layers["image objects"].data[0:3, 0:3] = 99
    user.push("learn")
    user.control("field_complete").click()
    user.push("learn")
    (_, [(_, sparse)], _), (_, [(_, complete)], _) = process.started
    assert 99 not in sparse
    assert 99 in complete
    assert process.learning.settings == {"is_complete": True}


def test_it_keeps_learning_after_every_ten_objects(user, process, monkeypatch) -> None:
    monkeypatch.setattr(learning, "_EVERY", 6)
    user.control("keep_learning").click()
    assert not process.started, "there are five objects"
    user.click(FREE_CENTRES[0])
    user.press("C")
    user.wait_for(lambda: len(process.started) == 1)
    window = user.widget.controller.panel.learning
    assert not window.isVisible(), "the user did not ask for it"
    process.finish(is_better=False)
    assert not window.isVisible()
    monkeypatch.setattr(learning, "_EVERY", 1)
    user.click(FREE_CENTRES[1])
    user.press("C")
    user.wait_for(lambda: len(process.started) == 2)
    process.finish(is_better=True)
    assert window.isVisible(), "the user decides"


def test_the_table_tells_how_many_objects_are_found(user, process) -> None:
    user.push("learn")
    result = {"name": "a", "is_better": True, "automatic": "found (IoU 0.5)"}
    before, after = FIGURES | {"automatic": 0.25}, FIGURES | {"automatic": 0.75}
    process.path.touch()
    process.learning.finished.emit(result | {"before": before, "after": after})
    text = user.control("learn_text").text()
    assert "found (IoU 0.5)" in text
    assert "0.25" in text
    assert "0.75" in text


def test_the_worst_objects_are_shown_until_the_next_start(user, process, tmp_path) -> None:
    path = tmp_path / "worst.png"
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(path)
    user.push("learn")
    process.path.touch()
    result = {"name": "a", "is_better": True, "before": FIGURES, "after": FIGURES}
    process.learning.finished.emit(result | {"worst": [[str(path), "0.20 → 0.40"]]})
    shown = user.control("learn_worst")
    pictures = [label for label in shown.findChildren(QLabel) if not label.pixmap().isNull()]
    assert [label.pixmap().width() for label in pictures] == [30]
    assert "0.20 → 0.40" in [label.text() for label in shown.findChildren(QLabel)]
    assert shown.isVisible()
    user.push("learn")
    assert not shown.isVisible()


def test_one_object_is_too_few(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    user.click((20, 24))
    user.press("C")
    user.widget.controller.learning_actions.learn()
    assert "at least 2 committed objects" in user.status


def test_objects_that_nobody_looked_at_are_left_out() -> None:
    records, extent = ObjectRecords(), (slice(0, 5), slice(0, 5))
    records.update(
        {
            (1, (0,)): ObjectOnSlice(extent, Origin.PROMPTS),
            (1, (1,)): ObjectOnSlice(extent, Origin.PROPAGATED, 0.9),
            (2, (1,)): ObjectOnSlice(extent, Origin.PROPAGATED, 0.3, is_checked=True),
            (3, (1,)): ObjectOnSlice(extent, Origin.FOUND),
        }
    )
    assert confirmed_planes(records) == {(0,): {1}, (1,): {2}}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "place", ["numpy.save", f"{process_module.__name__}.TemporaryDirectory"]
)
def test_a_full_disk_keeps_learning_from_beginning(user, monkeypatch, place: str) -> None:
    before = user.labels
    with monkeypatch.context() as patch:
        patch.setattr(place, full_disk)
        user.push("learn")
    assert "No space left" in user.status
    assert not user.widget.controller.panel.learning.isVisible()
    actions = user.widget.controller.learning_actions
    assert not actions._learning.is_running
    assert actions._learning._folder is None, "nothing is left on the disk"
    np.testing.assert_array_equal(user.labels, before)


def test_weights_that_do_not_fit_on_the_disk_can_be_used_later(
    user, process, monkeypatch
) -> None:
    user.push("learn")
    process.finish(is_better=True)
    folder = user.widget.controller.autosave.folder_of(user.session)
    with monkeypatch.context() as patch:
        patch.setattr(learning.shutil, "copyfile", full_disk)
        user.push("use_learned")
    assert "press Use again" in user.status
    assert not list(folder.glob("learned-*"))
    assert user.control("model").currentText().startswith("tiny · ")
    user.push("use_learned")
    assert user.control("model").currentText() == "tiny + 5 objects of image"


def test_a_process_that_dies_loses_only_the_learning(user, monkeypatch, tmp_path) -> None:
    (tmp_path / "endless.py").write_text(
        f"import json, sys\nprint(json.dumps({{'state': {STATE}}}), flush=True)\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process_module, "_MODULE", "endless")
    before, window = user.labels, user.widget.controller.panel.learning
    user.push("learn")
    user.wait_for(lambda: "1:15 left" in user.control("learn_text").text())
    user.widget.controller.learning_actions._learning._process.kill()
    user.wait_for(lambda: not window.isVisible())
    assert "learning stopped without a result" in user.status
    assert "labels are as they were" in user.status
    np.testing.assert_array_equal(user.labels, before)
    assert user.control("model").currentText().startswith("tiny · ")
    user.click(FREE_CENTRES[0])
    user.press("C")
    assert user.status.startswith("Object 6 saved")


QUICK_PROCESS = """
from napari_promptable.learning import learn, process, sources
process._NICENESS = 0  # other tests, which run beside it, would leave it no time
learn.STEPS = (1.0,)
sources.CROP_SIDE = 64
process.main()
"""


@pytest.mark.slow
def test_the_process_reports_and_writes(qtbot, tmp_path, monkeypatch) -> None:
    from napari_promptable.gui.work.learning import Learning

    (tmp_path / "quick.py").write_text(QUICK_PROCESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(process_module, "_MODULE", "quick")
    rows, columns = np.indices((64, 240))
    labels = np.zeros(rows.shape, np.int32)
    for disk in range(5):
        labels[np.hypot(rows - 32, columns - 24 - 48 * disk) < 15] = disk + 1
    learning, states = Learning(), []
    learning.settings = {"max_steps": 1, "minutes": 60}
    learning.progressed.connect(states.append)
    with qtbot.waitSignal(learning.finished, timeout=300_000) as result:
        learning.start("tiny", [(100 * (labels > 0).astype(np.uint8), labels)], "disks")
        assert learning.is_running
    assert {state["phase"] for state in states} >= {"measuring before", "learning"}
    assert result.args[0]["before"].keys() == FIGURES.keys() | {"automatic"}
    assert result.args[0]["automatic"] == "found (IoU 0.5)"
    assert len(result.args[0]["worst"]) == 3  # of the four held out
    for path, text in result.args[0]["worst"]:
        with Image.open(path) as picture:
            assert picture.width > 50
        assert "→" in text
    assert not learning.is_running
    learning.forget()


def test_a_process_that_fails_says_why(qtbot) -> None:
    from napari_promptable.gui.work.learning import Learning

    learning = Learning()
    with qtbot.waitSignal(learning.failed, timeout=300_000) as failure:
        learning.start("no_such_model", [], "nothing")
    assert "no_such_model" in str(failure.args[0])
    learning.forget()


def test_a_job_is_written_as_arrays(tmp_path) -> None:
    write_job(tmp_path, "tiny", [(np.ones((4, 5)), np.ones((4, 5), int))], {}, "a.tif")
    assert json.loads((tmp_path / "job.json").read_text())["examples"] == 1
    assert np.load(tmp_path / "0_labels.npy").shape == (4, 5)
