"""The window for editing objects: classes, and corrections of shapes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels, Points, Shapes
from qtpy.QtCore import QItemSelectionModel, QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QColor, QDropEvent
from qtpy.QtWidgets import QColorDialog, QFileDialog, QInputDialog, QWidget

from napari_promptable.annotation.history import Verb
from napari_promptable.files.formats.exchange import FORMATS
from napari_promptable.files.formats.geff_tracks import write_geff
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.gui.editing.widget import ObjectEditorWidget
from napari_promptable.gui.widget import find_controller

pytestmark = pytest.mark.gui

SHAPE = (60, 80)


class Editor:
    """A user with both widgets, and with disks committed as objects 1, 2 and so on."""

    def __init__(self, user, centres=(), is_docked: bool = False) -> None:
        self.user = user
        user.widget.controller.panel._objects_section.set_open(True)
        for centre in centres:
            user.click(user.world(*centre))
            user.press("C")
        if is_docked:
            user.push("edit_objects")
            self.dock = user.viewer.window._wrapped_dock_widgets[
                "Edit and measure objects (napari-promptable)"
            ]
            self.widget = self.dock.inner_widget()
        else:
            self.widget = ObjectEditorWidget(user.viewer)
            user.qtbot.addWidget(self.widget)
            self.widget.show()
        user.process_events()

    def control(self, name: str) -> QWidget:
        control = self.widget.findChild(QWidget, name)
        assert control is not None, name
        return control

    def push(self, name: str) -> None:
        button = self.control(name)
        assert button.isEnabled(), name
        button.click()
        self.user.process_events()

    def select(self, *object_ids: int) -> None:
        table = self.user.control("object_list")
        flags = QItemSelectionModel.SelectionFlag
        table.clearSelection()
        for row, each in enumerate(table.model().rows):
            if each.object_id in object_ids:
                table.selectionModel().select(
                    table.model().index(row, 0), flags.Select | flags.Rows
                )
        self.user.process_events()

    def class_texts(self) -> list[str]:
        found = self.control("classes")
        return [found.item(row).text().strip() for row in range(found.count())]


@pytest.fixture
def disks(make_disks):
    return make_disks(SHAPE, [(20, 24), (40, 58), (44, 20)])


@pytest.fixture
def editor(open_desk, disks) -> Editor:
    return Editor(open_desk(disks.image), disks.centres[:2])


@pytest.fixture
def docked_editor(open_plugin, disks) -> Editor:
    """For tests that need the canvas or a window of napari."""
    return Editor(open_plugin(disks.image), disks.centres[:2], is_docked=True)


@pytest.fixture
def answers(monkeypatch) -> list[str]:
    """What the user types into dialogs, in order."""
    texts: list[str] = []
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (texts.pop(0), True))
    return texts


def test_the_window_opens_once_and_under_the_canvas(docked_editor) -> None:
    editor = docked_editor
    window = editor.user.viewer.window
    area = window._qt_window.dockWidgetArea(editor.dock)
    assert area == Qt.DockWidgetArea.BottomDockWidgetArea
    editor.user.push("edit_objects")
    assert editor.dock.inner_widget() is editor.widget


def test_classes_are_added_and_new_objects_take_the_current_one(editor, answers) -> None:
    answers += ["nucleus", "cell"]
    editor.push("add_class")
    editor.push("add_class")
    assert editor.class_texts() == ["0  no class", "1  nucleus", "2  cell"]
    user = editor.user
    assert user.status == "New objects get the class cell."
    user.click(user.world(44, 20))
    user.press("C")
    assert user.session.records.class_names == {3: "cell"}


def test_number_keys_choose_a_class_or_set_it_for_the_selected_objects(docked_editor) -> None:
    editor = docked_editor
    user, classes = editor.user, editor.user.session.classes
    for name in ("nucleus", "cell"):
        classes.define(name)
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    assert classes.current == "cell"
    assert user.session.records.class_names == {}
    editor.select(1, 2)
    user.qtbot.keyClick(user.control("object_list"), Qt.Key.Key_1)
    assert user.session.records.class_names == {1: "nucleus", 2: "nucleus"}
    assert classes.current == "cell"
    assert user.status == "Objects 1 and 2 now have the class nucleus."
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_7, Qt.KeyboardModifier.ControlModifier)
    assert user.status.startswith("There is no class 7.")
    user.push("undo")
    assert user.session.records.class_names == {}


def test_the_highlighted_class_is_the_one_of_new_objects(editor) -> None:
    user, classes = editor.user, editor.user.session.classes
    for name in ("nucleus", "cell"):
        classes.define(name)
    found = editor.control("classes")
    place = found.visualItemRect(found.item(1)).center()
    user.qtbot.mouseClick(found.viewport(), Qt.MouseButton.LeftButton, pos=place)
    user.wait_for(lambda: classes.current == "nucleus")
    user.qtbot.keyClick(found, Qt.Key.Key_Down)
    user.wait_for(lambda: classes.current == "cell")
    editor.select()
    editor.push("assign_class")
    assert user.status.startswith("Select saved objects")


def test_digits_keep_their_meaning_in_napari(docked_editor) -> None:
    editor = docked_editor
    user = editor.user
    assert not {str(n) for n in range(10)} & {str(key) for key in user.points.keymap}
    user.viewer.layers.selection.active = user.points
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_3)
    assert str(user.points.mode) == "select"


def test_classes_are_renamed_recolored_and_removed(editor, answers, monkeypatch) -> None:
    user = editor.user
    answers += ["nucleus", "yeast"]
    editor.push("add_class")
    editor.select(1)
    editor.push("assign_class")
    editor.push("rename_this_class")
    assert user.session.records.class_names == {1: "yeast"}
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    editor.push("color_class")
    assert dict(user.session.classes.colors) == {"yeast": "#123456"}
    editor.push("remove_class")
    assert user.session.records.class_names == {}
    assert editor.class_texts() == ["0  no class"]
    assert not editor.control("remove_class").isEnabled()


def test_objects_show_the_color_of_their_class(editor) -> None:
    user = editor.user
    own = user.objects.get_color(2)
    user.session.classes.define("cell", "#ff0000")
    user.widget.controller.class_actions.classify([1], "cell")
    editor.push("color_by_class")
    np.testing.assert_allclose(user.objects.get_color(1)[:3], (1, 0, 0))
    np.testing.assert_allclose(user.objects.get_color(2)[:3], [0xBB / 255] * 3, atol=1e-6)
    user.session.classes.define("cell", "#0000ff")
    user.process_events()
    np.testing.assert_allclose(user.objects.get_color(1)[:3], (0, 0, 1))
    editor.push("color_by_class")
    np.testing.assert_allclose(user.objects.get_color(2), own)


@pytest.mark.parametrize(("name", "verb"), [("grow", Verb.GROW), ("shrink", Verb.SHRINK)])
def test_a_button_corrects_the_selected_objects_with_one_undo(editor, name, verb) -> None:
    user = editor.user
    before = user.labels
    editor.select(1, 2)
    editor.push(name)
    after = user.labels
    changed = int(np.count_nonzero(after != before))
    assert changed
    assert user.status.startswith("Objects 1 and 2 ")
    assert f"{changed} pixels on 1 slice" in user.status
    assert user.session.history.last_done.verb is verb
    user.push("undo")
    assert np.array_equal(user.labels, before)


def test_without_a_selection_the_current_object_is_corrected(editor) -> None:
    user = editor.user
    editor.select()
    editor.push("grow")
    assert user.status.startswith("Select saved objects")
    user.widget.controller.object_actions.refine(2)
    user.wait_idle()
    editor.push("grow")
    assert user.status.startswith("Object 2 grown")
    user.wait_idle()
    assert np.array_equal(user.preview_mask, user.labels == 2)


def test_a_line_across_splits_the_object_and_the_tool_ends(docked_editor) -> None:
    editor = docked_editor
    user = editor.user
    before, active = user.labels, user.viewer.layers.selection.active
    editor.select()
    editor.push("split")
    assert user.status.startswith("Drag a line")
    user.drag(user.world(12, 25), user.world(28, 25))
    labels = user.labels
    assert np.array_equal(labels > 0, before > 0)
    assert set(np.unique(labels)) == {0, 1, 2, 4}  # 3 is the object that the user begins
    assert user.status.startswith("Object 1 split into objects 1 and 4: ")
    assert "cutting line" not in user.layer_names
    assert user.viewer.layers.selection.active is active
    user.push("undo")
    assert np.array_equal(user.labels, before)


def test_only_a_selected_object_is_split_and_another_layer_cancels(docked_editor) -> None:
    editor = docked_editor
    user = editor.user
    editor.select(2)
    editor.push("split")
    user.drag(user.world(12, 25), user.world(28, 25))
    assert user.status.startswith("There is no object under this line")
    editor.push("split")
    user.viewer.layers.selection.active = user.image
    user.wait_for(lambda: "cutting line" not in user.layer_names)
    assert user.viewer.layers.selection.active is user.image


def test_one_slice_or_all_slices_are_corrected(open_desk, make_disks) -> None:
    disks = make_disks((3, *SHAPE), [(z, 20, 24) for z in range(3)])
    labels = np.where(disks.truth > 0, 5, 0).astype(np.uint16)
    user = open_desk(disks.image, before=lambda viewer: viewer.add_labels(labels, name="mine"))
    user.choose("labels", "mine")
    user.wait_for(lambda: user.session.records.object_ids == [5])
    editor = Editor(user)
    editor.select(5)
    editor.push("grow")
    assert "on 1 slice." in user.status
    editor.push("all_slices")
    editor.push("grow")
    assert "on 3 slices." in user.status


def test_it_fits_a_narrow_dock_and_ends_with_the_other_window(docked_editor) -> None:
    editor = docked_editor
    assert editor.widget.minimumSizeHint().width() <= 300
    user = editor.user
    user.close_dock()
    assert "again" in editor.widget.editor.panel.problem.text()
    assert not editor.control("grow").isEnabled()


def test_it_opens_from_the_menu_and_opens_the_other_window(
    make_napari_viewer, fake_model
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros(SHAPE))
    _, widget = viewer.window.add_plugin_dock_widget(
        "napari-promptable", "Edit and measure objects"
    )
    assert isinstance(widget, ObjectEditorWidget)
    assert widget.editor._controller is find_controller(viewer)


# measurements


def measure(editor: Editor) -> Any:
    editor.push("measure")
    editor.user.wait_for(lambda: editor.widget.editor.panel.table.table is not None)
    return editor.widget.editor.panel.table.table


def test_measurements_fill_the_table_and_the_features(editor, tmp_path, monkeypatch) -> None:
    user = editor.user
    user.viewer.add_image(np.full(SHAPE, 3.0), name="GFP")
    user.widget.controller.class_actions.classify([1], "cell")
    assert not editor.control("save_table").isEnabled()
    table = measure(editor)
    assert user.status == "2 objects measured."
    labels = user.labels
    assert table["num_pixels"].tolist() == [(labels == 1).sum(), (labels == 2).sum()]
    assert table["class"].tolist() == ["cell", "object"]
    assert table["intensity_mean_image"].tolist() == [1.0, 1.0]
    assert table["intensity_max_GFP"].tolist() == [3.0, 3.0]
    assert table["confidence"].tolist() == pytest.approx([0.9, 0.9], abs=0.1)
    assert user.objects.features["index"].tolist() == [1, 2]
    assert user.objects.features["area"].tolist() == table["area"].tolist()
    for name, read in (("a.csv", pd.read_csv), ("a.parquet", pd.read_parquet)):
        path = tmp_path / name
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, p=path: (str(p), ""))
        editor.push("save_table")
        assert read(path)["object_id"].tolist() == [1, 2]
        assert user.status == f"Table of 2 rows saved to {path}."


def test_a_row_leads_to_its_object_and_titles_sort(editor) -> None:
    user = editor.user
    measure(editor)
    view = editor.control("measurements")
    view.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert view.model().index(0, 0).data() == 2
    view.clicked.emit(view.model().index(0, 0))
    assert user.widget.controller.panel.objects.selected == [2]


def test_own_columns_of_the_features_stay(editor) -> None:
    layer = editor.user.objects
    layer.features = {"index": [2, 5], "well": ["B2", "C3"]}
    table = measure(editor)
    features = layer.features
    assert features["index"].tolist() == table["object_id"].tolist()
    assert features["well"].tolist()[1:] == ["B2"]


def test_a_stack_is_measured_in_3d_or_slice_by_slice(open_desk, make_disks) -> None:
    disks = make_disks((3, *SHAPE), [(z, 20, 24) for z in range(3)])
    labels = np.where(disks.truth > 0, 5, 0).astype(np.uint16)
    user = open_desk(
        disks.image,
        before=lambda viewer: viewer.add_labels(labels, name="mine", scale=(2, 1, 1)),
        scale=(2, 1, 1),
    )
    user.choose("labels", "mine")
    user.wait_for(lambda: user.session.records.object_ids == [5])
    editor = Editor(user)
    table = measure(editor)
    assert table["volume"].tolist() == [2 * (labels > 0).sum()]
    editor.push("per_slice")
    editor.push("measure")
    user.wait_for(lambda: len(editor.widget.editor.panel.table.table) == 3)
    assert user.status == "1 object measured in 3 rows."


def test_there_is_nothing_to_measure_without_objects(open_desk, make_disks) -> None:
    user = open_desk(make_disks(SHAPE).image)
    editor = Editor(user)
    editor.push("measure")
    assert user.status.startswith("There is no saved object")


# other programs


def export(editor: Editor, path: Path, title: str, monkeypatch) -> None:
    box = editor.control("export_format")
    box.setCurrentIndex(box.findText(title))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    editor.push("export")
    editor.user.wait_for(lambda: str(path) in editor.user.status)


def test_what_a_format_loses_is_said_before_and_after(editor, tmp_path, monkeypatch) -> None:
    box, loss = editor.control("export_format"), editor.control("export_loss")
    assert box.count() == len(FORMATS)
    for number, each in enumerate(FORMATS.values()):
        box.setCurrentIndex(number)
        assert each.loss in loss.text()
    export(editor, tmp_path / "cells.zip", "ImageJ regions", monkeypatch)
    lost = "class colors, confidence, scale"
    assert editor.user.status == (
        f"ImageJ regions written to {tmp_path / 'cells.zip'}. Not in the file: {lost}."
    )


def test_exported_objects_come_back_with_classes_and_are_edited(
    editor, tmp_path, monkeypatch
) -> None:
    user, path = editor.user, tmp_path / "cells.geojson"
    user.session.classes.define("cell", "#102030")
    user.widget.controller.class_actions.classify([2], "cell")
    before = user.labels
    export(editor, path, "GeoJSON (QuPath)", monkeypatch)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    editor.push("import_objects")
    user.wait_for(lambda: "imported" in user.status)
    assert user.status == '2 objects imported. "cells" is now the labels layer.'
    assert user.objects.name == "cells"
    assert np.array_equal(user.labels, before)
    assert user.session.records.class_names[2] == "cell"
    assert user.session.classes.colors["cell"] == "#102030"
    user.wait_for(lambda: user.session.records.object_ids == [1, 2])
    user.process_events()
    editor.select(2)
    editor.push("grow")
    assert (user.labels == 2).sum() > (before == 2).sum()


@pytest.mark.parametrize(
    ("text", "button", "kind"),
    [("as boxes", "boxes_to_objects", Shapes), ("as points", "points_to_objects", Points)],
)
def test_dropped_objects_become_prompts(
    editor, tmp_path, monkeypatch, text, button, kind
) -> None:
    user, path = editor.user, tmp_path / "cells.geojson"
    export(editor, path, "GeoJSON (QuPath)", monkeypatch)
    box = editor.control("import_as")
    box.setCurrentIndex(box.findText(text))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    panel = editor.widget.editor.panel.exchange
    panel.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    user.wait_for(lambda: user.status.startswith('"cells '))
    [layer] = [layer for layer in user.viewer.layers if layer.name.startswith("cells ")]
    assert isinstance(layer, kind)
    assert len(layer.data) == 2
    assert layer.features["object_id"].tolist() == [1, 2]
    user.widget.controller.actions.new_object()
    getattr(user.widget.controller.sources, button)()
    user.wait_idle()
    assert "saved" in user.status or "exactly like this" in user.status


def test_files_dropped_on_the_canvas_become_what_the_window_says(
    docked_editor, tmp_path, monkeypatch
) -> None:
    editor = docked_editor
    user, path = editor.user, tmp_path / "cells.geojson"
    export(editor, path, "GeoJSON (QuPath)", monkeypatch)
    box = editor.control("import_as")
    box.setCurrentIndex(box.findText("as boxes"))
    assert user.viewer.open(str(path), plugin="napari-promptable") == []
    user.wait_for(lambda: "cells boxes" in user.layer_names)
    assert len(user.viewer.layers["cells boxes"].data) == 2
    user.viewer.window.remove_dock_widget(editor.dock)
    user.process_events()
    [layer] = user.viewer.open(str(path), plugin="napari-promptable")
    assert isinstance(layer, Labels)
    assert np.array_equal(layer.data, user.labels)


def test_tracks_become_points(open_desk, make_disks, tmp_path) -> None:
    disks = make_disks((3, *SHAPE), [(t, 20, 24) for t in range(3)])
    labels = np.where(disks.truth > 0, 5, 0).astype(np.uint16)
    write_geff(tmp_path / "cells.geff", LabelledObjects(labels, "TYX", (2.0, 1.0, 1.0)))
    options = {"scale": (2, 1, 1), "axis_labels": ("t", "y", "x")}
    user = open_desk(disks.image, **options)
    editor = Editor(user)
    panel = editor.widget.editor.panel.exchange
    panel.import_requested.emit(str(tmp_path / "cells.geff"), "labels")
    user.wait_for(lambda: "import them as points" in user.status)
    panel.import_requested.emit(str(tmp_path / "cells.geff"), "point")
    user.wait_for(lambda: "cells points" in user.layer_names)
    points = user.viewer.layers["cells points"]
    assert points.data.tolist() == [[t, 20, 24] for t in range(3)]
    assert points.features["object_id"].tolist() == [5] * 3


def test_a_file_without_objects_says_so(editor, tmp_path) -> None:
    path = tmp_path / "none.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    for kind in ("labels", "box", "point"):
        editor.user.widget.controller.display.say("")
        editor.widget.editor.panel.exchange.import_requested.emit(str(path), kind)
        editor.user.wait_for(lambda: editor.user.status == "The file has no objects.")


def test_a_file_of_another_image_is_refused_in_one_sentence(editor, tmp_path) -> None:
    path = tmp_path / "broken.geojson"
    path.write_text("{}")
    editor.widget.editor.panel.exchange.import_requested.emit(str(path), "labels")
    user = editor.user
    user.wait_for(lambda: "broken.geojson" in user.status)
    assert len(user.notifications) == 1
