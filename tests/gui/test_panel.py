"""The panel itself: its room, its sections and forms, whatever is shown in it."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QRadioButton,
    QScrollArea,
    QStyle,
    QStyleOptionComboBox,
    QToolButton,
)

from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.annotation.session_folder import SavedSession
from napari_promptable.gui.actions import messages
from napari_promptable.gui.layers import edit_watch
from napari_promptable.gui.panels import next_step
from napari_promptable.gui.panels.confidence_strip import ConfidenceStrip
from napari_promptable.gui.panels.controls import Section
from napari_promptable.gui.panels.settings_form import SettingsForm
from napari_promptable.gui.panels.status import StatusLine, StatusPanel
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    PropagationSettings,
    SplitPolicy,
    StopReason,
)

pytestmark = pytest.mark.gui

WIDTH, HEIGHT = 300, 700
POINT_SIZE = 10  # of napari's font
LONG_MESSAGES = (
    "/a/path/without/any/space" * 20,
    "word" * 100,
    "a sentence of many words " * 20,
)


@dataclass(frozen=True)
class Numbers:
    """Three numbers."""

    low: float = Field(default=0.5, ge=0, le=1, title="Low", description="a")
    high: float = Field(default=2.0, ge=1, le=9, title="High", description="b")
    free: float = Field(default=3.0, ge=0, title="Free", description="c")


def test_a_form_is_made_from_titles_descriptions_and_limits(qtbot) -> None:
    form = SettingsForm(Numbers(high=4.0), ["low", "high", "free"], columns=2)
    qtbot.addWidget(form)
    assert [label.text() for label in form.findChildren(QLabel)] == ["Low", "High", "Free"]
    low, high, free = (form.findChild(object, name) for name in ("low", "high", "free"))
    assert (low.minimum(), low.maximum(), low.toolTip()) == (0, 1, "a")
    assert (high.minimum(), high.maximum(), high.value()) == (1, 9, 4)
    assert free.minimum() == 0
    low.setValue(0.25)
    assert form.values() == {"low": 0.25, "high": 4.0, "free": 3.0}


def test_every_choice_of_a_form_is_a_value_of_the_setting(qtbot) -> None:
    form = SettingsForm(DEFAULT_SETTINGS, ["split"])
    qtbot.addWidget(form)
    box = form.findChild(object, "split")
    texts = [box.itemText(number) for number in range(box.count())]
    assert texts == ["the largest part", "the closest part", "all parts"]
    for number, policy in enumerate(SplitPolicy):
        box.setCurrentIndex(number)
        assert PropagationSettings(**form.values()).split is policy


def test_titles_are_in_the_published_schema() -> None:
    schema = TypeAdapter(PropagationSettings).json_schema()["properties"]
    assert schema["min_likeness"]["title"] == "Min. similarity"


def test_a_folded_section_hides_its_content(qtbot) -> None:
    content = QLabel("content")
    section = Section("Title", "fold", content)
    qtbot.addWidget(section)
    section.show()
    title = section.findChild(QAbstractButton, "fold")
    assert not content.isVisible()
    title.click()
    assert content.isVisible()
    assert content.height() >= content.sizeHint().height()
    assert title.text() == "▾ Title"
    section.set_title("Other")
    title.click()
    assert not content.isVisible()
    assert title.text() == "▸ Other"


def test_messages_leave_the_status_line_as_it_is(qtbot) -> None:
    status = StatusPanel()
    qtbot.addWidget(status)
    status.show()
    before = status.minimumSizeHint()
    for message in LONG_MESSAGES:
        status.set_status(message)
        assert status.minimumSizeHint() == before
        line = status.findChild(QLabel, "status")
        assert line.text() == line.toolTip() == message


def test_a_changed_text_does_not_lay_out_the_window(open_plugin, make_disks) -> None:
    """Laying out the window has Qt compose it twice, canvas included."""
    user = open_plugin(make_disks().image)
    window, panel = user.viewer.window._qt_window, user.widget.controller.panel
    settle(user)  # napari's own controls are laid out after opening
    watch = _Layouts()
    window.installEventFilter(watch)
    panel.status.set_status(
        "Another sentence, and a rather long one, so that it has two lines."
    )
    panel.objects.count_changed.emit(1234)
    settle(user)
    assert watch.count == 0

    width = user.widget.width()
    panel.status.setMinimumWidth(width + 40)  # what does not fit, the window has to know
    settle(user)
    assert watch.count > 0
    assert user.widget.width() >= width + 40
    assert panel.size() == user.widget.size()


def settle(user: Any) -> None:
    """Let each level of nested layouts ask the one around it."""
    for _ in range(20):
        user.process_events()


class _Layouts(QObject):
    """Counts how often a widget is asked to lay out its parts."""

    count = 0

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


def test_all_lines_of_the_status_are_in_sight(open_plugin, make_disks) -> None:
    line = open_plugin(make_disks().image).control("status")
    metrics, text = line.fontMetrics(), "gjpqy"
    while metrics.horizontalAdvance(text) < 2.2 * line.width():
        text += " gjpqy"
    line.setText(text)
    height = line.heightForWidth(line.width())
    line.setFixedSize(line.width(), height + 40)  # more room, so that nothing can be cut
    image = line.grab().toImage()
    ground = image.pixel(image.width() - 1, image.height() - 1)
    scale = image.height() / line.height()
    inked = [
        row
        for row in range(image.height())
        if any(image.pixel(column, row) != ground for column in range(image.width()))
    ]
    assert 2 * height / 3 < inked[-1] / scale < height


def test_an_answer_leaves_the_panel_as_wide_as_it_was(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    before = user.widget.minimumSizeHint().width()
    user.click(user.world(*disks.centres[0]))
    assert [button.text() for button in user.candidates] != ["–"] * 3
    assert user.widget.minimumSizeHint().width() == before


SENTENCES = [
    text
    for module in (messages, next_step, edit_watch)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
]
OFTEN_SAID = [
    f"Object 12 saved: 1,204 pixels on 1 slice. {messages.describe_learn(12)}",
    "Object 12 saved: 1,204 pixels on 1 slice. 7 pixels stayed with object 2. "
    + messages.describe_learn(12),
    "Object 12 propagated: 12,040 pixels on 24 slices. "
    "120 pixels stayed with objects 1, 2 and 3. 2 slices need a check (D).",
    messages.describe_left_behind(12),
    messages.describe_loaded([1, 2, 3]),
    messages.describe_all_seen(6),
    messages.describe_doubtful_object(12, 0.55, 10),
    messages.describe_missing_class(9),
    messages.describe_ended_propagation(24),
    messages.describe_unread(120),
    *(
        messages.describe_doubt(120, ObjectOnSlice(None, Origin.PROPAGATED, 0.2, stop))
        for stop in ("", *map(str, StopReason))
    ),
    *(text.format(120) for text in (next_step.SAVED_HERE, next_step.SAVED_ELSEWHERE)),
]


@pytest.mark.parametrize("text", [*SENTENCES, *OFTEN_SAID])
def test_a_sentence_is_not_cut(qtbot, text: str) -> None:
    line = StatusLine()
    qtbot.addWidget(line)
    font = line.font()
    font.setPointSize(POINT_SIZE)
    line.setFont(font)
    wrap = int(Qt.TextFlag.TextWordWrap)
    needed = line.fontMetrics().boundingRect(QRect(0, 0, WIDTH - 6, 999), wrap, text)
    spacing = line.fontMetrics().lineSpacing()
    assert round(needed.height() / spacing) <= line.heightForWidth(WIDTH) // spacing


def test_no_label_is_cut(open_desk, make_disks) -> None:
    user = open_desk(make_disks((5, 60, 80), [(2, 20, 24)]).image)
    panel = user.widget.controller.panel
    saved = SavedSession(None, datetime(2026, 11, 26, 16, 27), 120, 3)
    user.widget.controller.recovery._offer(saved)
    panel.volume.ask_to_keep(120)
    for name in ("volume_fold", "stop_rules", "objects_fold", "encoding_fold"):
        user.control(name).setChecked(True)
    for shows_all in (False, True):
        panel.show_automatic(shows_all)
        panel.automatic.set_found(messages.describe_found(1200, 345))
        user.widget.resize(WIDTH, 3 * HEIGHT)
        user.process_events()
        assert user.widget.width() == WIDTH
        labels = [each for each in panel.findChildren(QLabel) if each.isVisible()]
        assert len(labels) > 10
        for label in labels:
            if label.wordWrap():
                needed = label.heightForWidth(label.width()), label.height()
            else:
                needed = label.sizeHint().width(), label.width()
            assert needed[0] <= needed[1], label.text()


def test_everything_fits_with_every_section_open(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks((5, 60, 80), [(2, 20, 24)]).image)
    panel = user.widget.controller.panel
    for name in ("volume_fold", "stop_rules", "objects_fold", "encoding_fold"):
        user.control(name).setChecked(True)
    panel.volume.strip.set_slices(5, 2, {2: ObjectOnSlice(None, Origin.PROPAGATED, 0.9)})
    panel.choices.refresh("channel")
    user.dock.setFloating(True)
    user.dock.resize(WIDTH, HEIGHT + user.dock.height() - user.widget.height())
    user.qtbot.waitUntil(lambda: user.widget.width() <= WIDTH)
    user.qtbot.waitUntil(lambda: user.widget.height() <= HEIGHT)
    size = user.widget.size()
    for message in LONG_MESSAGES:
        panel.status.set_status(message)
        user.process_events()
        [area] = panel.findChildren(QScrollArea)
        assert user.widget.size() == size, "no message moves or widens the panel"
        assert area.verticalScrollBar().maximum() == 0, "no need to scroll"
        assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    for kind in (QAbstractButton, QRadioButton, QToolButton):
        for button in panel.findChildren(kind):
            if button.isVisible():
                assert button.width() >= button.minimumSizeHint().width(), button.text()
    user.control("last_slice").setRange(0, 9_999)
    user.control("last_slice").setValue(9_999)
    user.control("object_id").setValue(9_999)
    for spin in panel.findChildren(QAbstractSpinBox):
        if spin.isVisible():
            edit = spin.lineEdit()
            assert edit.width() >= edit.fontMetrics().horizontalAdvance(spin.text()), (
                spin.text()
            )
    channel = user.control("channel")
    assert room_for_text(channel) >= channel.fontMetrics().horizontalAdvance("as shown")
    for name in ("device", "direction", "split", "overlap"):
        assert room_for_text(user.control(name)) >= longest_text(user.control(name)), name


def room_for_text(box: QComboBox) -> int:
    """Width in which a list shows its choice."""
    option, field = QStyleOptionComboBox(), QStyle.SubControl.SC_ComboBoxEditField
    box.initStyleOption(option)
    kind = QStyle.ComplexControl.CC_ComboBox
    return box.style().subControlRect(kind, option, field, box).width()


def longest_text(box: QComboBox) -> int:
    """Width of the longest choice of a list."""
    texts = [box.itemText(number) for number in range(box.count())]
    return max(box.fontMetrics().horizontalAdvance(text) for text in texts)


def test_the_strip_shows_the_slices_of_the_object(qtbot) -> None:
    strip = ConfidenceStrip()
    qtbot.addWidget(strip)
    strip.set_slices(100, 0, {50: ObjectOnSlice(None, Origin.PROMPTS)})
    assert strip.isHidden(), "nothing was propagated yet"
    objects = {z: ObjectOnSlice(None, Origin.PROPAGATED, 0.9) for z in range(42, 58)}
    strip.set_slices(100, 45, objects)
    assert not strip.isHidden()
    strip.resize(200, strip.height())  # 20 slices: 40 to 59
    clicked = []
    strip.slice_clicked.connect(clicked.append)
    for x in (1, 25, 199):
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(x, 9))
    assert clicked == [40, 42, 59]
    bars = strip.grab().toImage()
    assert bars.pixelColor(55, 20).name() == "#56b4e9"
    assert bars.pixelColor(5, 20).name() != "#56b4e9"
