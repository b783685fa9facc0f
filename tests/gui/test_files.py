"""Loading prompts and saving labels in the widget, and the reader of dropped files."""

import napari
import numpy as np
import pytest
import tifffile
import zarr
from npe2 import PluginManager
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_promptable.files.prompts_json import PromptDocument, write_prompts
from napari_promptable.gui.reader import get_reader
from napari_promptable.prompts import PlanePrompts

pytestmark = pytest.mark.gui

PLUGIN = "napari-promptable"

PROMPTS = PlanePrompts([[20, 24], [5, 5]], [1, 0], boxes_yxyx=[[10, 14, 30, 34]])


@pytest.fixture
def prompts_path(make_disks, tmp_path):
    """A prompts.json with one object, whose id is 1."""
    shape = make_disks().image.shape
    document = PromptDocument("disks", shape, (0, 1), "tiny", {1: {(): PROMPTS}})
    return write_prompts(document, tmp_path / "prompts.json")


@pytest.fixture(autouse=True)
def found_plugin() -> None:
    """Let napari find the plugin, as it does when a window opens."""
    PluginManager.instance().discover()


def drop(user, path) -> None:
    """Drop a file on the canvas of a window."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, mime, left, none)
    user.viewer.window._qt_viewer.dropEvent(event)


def choose_file(monkeypatch, verb: str, path) -> None:
    dialog = f"napari_promptable.gui.panels.files.QFileDialog.{verb}"
    monkeypatch.setattr(dialog, lambda *_, **__: (str(path), ""))


def test_saved_prompts_are_loaded(open_desk, make_disks, prompts_path, monkeypatch) -> None:
    user = open_desk(make_disks().image)
    choose_file(monkeypatch, "getOpenFileName", prompts_path)
    user.push("load_prompts")
    assert user.session.prompts.of(1) == {(): PROMPTS}
    assert user.preview_mask.any()
    assert "Prompts of 1 object loaded" in user.status
    user.press("C")
    user.push("load_prompts")
    assert user.session.prompts.current_object == 2, "id 1 is taken"
    assert user.session.prompts.of(2) == {(): PROMPTS}


def test_a_dropped_file_is_loaded(open_desk, make_disks, prompts_path) -> None:
    user = open_desk(make_disks().image)
    names = user.layer_names
    assert user.viewer.open(prompts_path, plugin=PLUGIN) == []
    user.wait_idle()
    assert user.session.prompts.of(1) == {(): PROMPTS}
    assert user.layer_names == names


def test_a_file_is_loaded_in_the_viewer_that_opens_it(
    open_desk, make_disks, prompts_path
) -> None:
    """Also beside other viewers with the widget open, and without it."""
    first, second, closed = (open_desk(make_disks().image) for _ in range(3))
    closed.close()
    first.viewer.open(prompts_path, plugin=PLUGIN)
    first.wait_idle()
    assert first.session.prompts.of(1) == {(): PROMPTS}
    assert second.session.prompts.of(1) == {}
    assert "loaded" not in second.status
    opened = closed.viewer.open(prompts_path, plugin=PLUGIN)
    assert [layer.name for layer in opened] == ["prompts points", "prompts boxes"]


def test_a_file_dropped_on_a_window_in_the_background(
    open_plugin, make_disks, prompts_path
) -> None:
    below, active = open_plugin(make_disks().image), open_plugin(make_disks().image)
    active.viewer.window.activate()
    assert napari.current_viewer() is active.viewer
    drop(below, prompts_path)
    below.wait_idle()
    assert below.session.prompts.of(1) == {(): PROMPTS}
    assert active.session.prompts.of(1) == {}


def test_a_file_dropped_without_an_image_asks_for_it(make_desk, prompts_path) -> None:
    user = make_desk(np.zeros((4, 4)))
    user.viewer.layers.clear()
    user.open()
    user.viewer.open(prompts_path, plugin=PLUGIN)
    assert user.status.startswith("Open the image first")


def test_without_the_widget_a_file_becomes_layers(prompts_path) -> None:
    points, boxes = get_reader([str(prompts_path)])([str(prompts_path)])
    assert points[0].tolist() == [[20, 24], [5, 5]]
    assert points[1]["features"] == {"label": ["positive", "negative"], "object_id": [1, 1]}
    assert boxes[0][0].tolist() == [[10, 14], [10, 34], [30, 34], [30, 14]]


def test_other_json_is_left_to_others(tmp_path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}")
    assert get_reader(str(path)) is None


def test_prompts_of_another_image_are_refused(
    open_desk, make_disks, tmp_path, monkeypatch
) -> None:
    user = open_desk(make_disks().image)
    document = PromptDocument("other", (7, 9), (0, 1), "tiny", {1: {(): PROMPTS}})
    path = write_prompts(document, tmp_path / "other.json")
    choose_file(monkeypatch, "getOpenFileName", path)
    user.push("load_prompts")
    assert "belong to an image of shape (7, 9)" in user.status
    assert not user.session.prompts.objects


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.zarr"])
def test_labels_are_saved(open_desk, make_disks, tmp_path, monkeypatch, name: str) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.objects.data[3:6, 4:9] = 7
    path = tmp_path / name
    choose_file(monkeypatch, "getSaveFileName", path)
    user.push("save_labels", wait=False)
    user.wait_for(lambda: "Labels saved" in user.status)
    if name.endswith(".tif"):
        saved = tifffile.imread(path)
    else:
        members = zarr.open_group(path, mode="r").members(max_depth=None)
        [saved] = [member[:] for _, member in members if hasattr(member, "dtype")]
    assert np.array_equal(saved, user.labels)


def test_labels_of_an_unknown_format_are_refused(
    open_desk, make_disks, tmp_path, monkeypatch
) -> None:
    user = open_desk(make_disks().image)
    choose_file(monkeypatch, "getSaveFileName", tmp_path / "labels.docx")
    user.push("save_labels", wait=False)
    user.wait_for(lambda: "choose one of these endings" in user.status)


def test_prompts_that_cannot_be_saved_say_why(open_desk, make_disks, tmp_path) -> None:
    user = open_desk(make_disks().image)
    user.click(20, 24)
    (tmp_path / "file").write_text("")
    save = user.widget.controller.file_actions.save_prompts
    for place in ("file", "missing"):
        save(str(tmp_path / place / "prompts.json"), "tiny")
        assert "prompts.json cannot be written" in user.status
        assert "name a folder that exists" in user.status
