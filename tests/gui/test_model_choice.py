"""Choosing models: the list, the question before a download, and models that fail."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton

from napari_promptable.errors import CheckpointError
from napari_promptable.gui.panels.model_names import model_choices

pytestmark = pytest.mark.gui

VIT_B = "Light microscopy · ViT-B"
OFFLINE = "no address answered: " + "https://example.org/a/very/long/address " * 20


@pytest.fixture
def disks(make_disks):
    return make_disks()


@pytest.fixture
def user(open_desk, disks):
    return open_desk(disks.image)


@pytest.fixture
def window_user(open_plugin, disks):
    return open_plugin(disks.image)


@pytest.fixture
def broken(monkeypatch):
    """Weights cannot be downloaded, and files cannot be read."""

    def fail(*_, **__):
        raise CheckpointError(OFFLINE)

    def breaks() -> None:
        monkeypatch.setattr("napari_promptable.gui.work.loading.fetch_checkpoint", fail)
        monkeypatch.setattr("napari_promptable.predict.load_model.load_model", fail)

    return breaks


def question(user) -> QMessageBox:
    [box] = [
        box
        for box in user.widget.findChildren(QMessageBox, "download_question")
        if box.isVisible()
    ]
    return box


def answer(user, text: str) -> None:
    [button] = [b for b in question(user).findChildren(QPushButton) if text in b.text()]
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    user.process_events()
    user.wait_idle()


def shown_model(user) -> str:
    return user.control("model").currentText()


def test_the_list_says_what_models_are_for() -> None:
    texts = {name: text for text, name in model_choices(["/home/me/own.pt"])}
    assert texts["tiny"] == "tiny · bundled"
    assert texts["vit_b"] == "Everyday images · ViT-B · 375 MB · download"
    assert texts["vit_b_lm"] == "Light microscopy · ViT-B · ~375 MB · download"
    assert texts["/home/me/own.pt"] == "own.pt · own file"
    assert len(set(texts.values())) == len(texts)


def test_every_model_has_a_tooltip(user) -> None:
    box = user.control("model")
    tips = [box.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(box.count())]
    assert all("Licence: " in tip for tip in tips)


def test_nothing_is_downloaded_without_a_yes(window_user, disks) -> None:
    user = window_user
    user.choose("model", VIT_B)
    box = question(user)
    assert [button.text() for button in box.buttons()] == ["Download", "Cancel"]
    assert "~375 MB" in box.text()
    assert "CC BY 4.0" in box.informativeText()
    assert shown_model(user).startswith("tiny"), "the former model stays until the answer"
    answer(user, "Cancel")
    assert user.scheduler.loading.name_in_use == "tiny"
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.choose("model", VIT_B)
    answer(user, "Download")
    assert user.scheduler.loading.name_in_use == "vit_b_lm"
    assert shown_model(user).startswith(VIT_B)


def test_the_former_model_answers_when_a_download_fails(window_user, disks, broken) -> None:
    user = window_user
    user.click(user.world(*disks.centres[0]))
    width = user.widget.width()
    broken()
    user.choose("model", VIT_B)
    answer(user, "Download")
    assert user.status.startswith(f"{VIT_B} could not be loaded. tiny stays in use.")
    assert OFFLINE not in user.status
    assert OFFLINE in user.control("status").toolTip()
    assert user.widget.width() == width
    assert shown_model(user).startswith("tiny")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.press("N")
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    user.widget.controller.choices.models.show_failure()
    [box] = user.widget.findChildren(QMessageBox, "model_failure")
    assert box.informativeText() == OFFLINE
    box.close()


def test_a_bad_file_leaves_the_list(user, disks, broken, tmp_path) -> None:
    path = tmp_path / "notes.pt"
    path.write_text("no weights")
    entries = user.control("model").count()
    broken()
    user.widget.controller.choices.models.add_own_model(str(path))
    user.wait_idle()
    assert user.control("model").count() == entries
    assert shown_model(user).startswith("tiny")
    assert user.status.startswith("notes.pt could not be loaded.")


def test_clicks_are_answered_while_another_model_is_fetched(
    window_user, disks, monkeypatch
) -> None:
    user = window_user
    import threading

    gate = threading.Event()
    monkeypatch.setattr(
        "napari_promptable.gui.work.loading.fetch_checkpoint", lambda *_: gate.wait(30)
    )
    user.choose("model", VIT_B)
    [button] = [b for b in question(user).findChildren(QPushButton) if "Download" in b.text()]
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    user.click(user.world(*disks.centres[0]), wait=False)
    user.wait_for(lambda: user.preview_mask.any())
    user.push("cancel", wait=False)
    gate.set()
    user.wait_idle()
    assert shown_model(user).startswith("tiny")
    assert user.scheduler.loading.name_in_use == "tiny"


def test_about_this_model_has_a_citation_to_copy(user) -> None:
    models = user.widget.controller.choices.models
    models.show_about()
    dialog = user.control("about_model")
    assert dialog.width() < 500
    copy = dialog.findChild(QPushButton, "copy_citation")
    user.qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == "napari-promptable"
    dialog.close()
