"""A click and its mask are drawn in one frame, if the mask comes soon."""

from typing import Any

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from napari_promptable.gui import drawing
from napari_promptable.gui.drawing import DrawingPause

_NEVER_MS = 60_000

pytestmark = pytest.mark.gui


class Sheet(QWidget):
    """A window that counts its drawings."""

    num_drawings = 0

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        self.num_drawings += 1


@pytest.fixture
def sheet(qtbot) -> Sheet:
    sheet = Sheet()
    qtbot.addWidget(sheet)
    sheet.show()
    qtbot.waitUntil(lambda: sheet.num_drawings > 0)
    sheet.num_drawings = 0
    return sheet


def test_a_pause_ends_in_one_drawing(sheet, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(drawing, "_LONGEST_MS", _NEVER_MS)
    pause = DrawingPause(sheet)
    pause.start()
    for _ in range(3):
        sheet.update()
        qtbot.wait(1)
    assert sheet.num_drawings == 0
    pause.end()
    qtbot.wait(1)
    assert sheet.num_drawings == 1
    sheet.update()
    qtbot.wait(1)
    assert sheet.num_drawings == 2


def test_a_pause_ends_by_itself(sheet, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(drawing, "_LONGEST_MS", 1)
    pause = DrawingPause(sheet)
    pause.start()
    sheet.update()
    qtbot.waitUntil(lambda: sheet.num_drawings == 1)


def test_a_pause_outlives_its_window(qtbot) -> None:
    sheet = Sheet()
    pause = DrawingPause(sheet)
    pause.start()
    sheet.deleteLater()
    QCoreApplication.sendPostedEvents(sheet, QEvent.Type.DeferredDelete.value)
    pause.end()


def test_one_frame_shows_a_click_and_its_mask(open_plugin, make_disks, monkeypatch) -> None:
    monkeypatch.setattr(drawing, "_LONGEST_MS", _NEVER_MS)
    disks = make_disks()
    user = open_plugin(disks.image)
    shown = []
    events = user.viewer.window._qt_viewer.canvas._scene_canvas.events
    events.draw.connect(
        lambda _: shown.append((len(user.points.data), user.preview_mask.any()))
    )
    user.model.predict_gate.clear()
    user.click(user.world(*disks.centres[0]), wait=False)
    user.process_events()
    assert (1, False) not in shown
    user.model.open_gates()
    user.wait_for(lambda: (1, True) in shown)
    assert (1, False) not in shown
