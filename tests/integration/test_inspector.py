"""The window "See inside the mask decoder" with the bundled weights and real clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, Qt
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSlider, QWidget

from napari_promptable import PromptSet, encode_image, explain, explain_encoder
from napari_promptable.gui.inspector.widget import DecoderInspectorWidget
from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.gui.widget import PromptableWidget
from napari_promptable.models.sam import build_vit_sam
from napari_promptable.predict.predictor import PromptableModel

pytestmark = pytest.mark.gui

PLUGIN, INSPECTOR = "napari-promptable", "See inside the mask decoder"
CLICK = (218, 68)  # in a nucleus
_TIMEOUT_MS = 120_000


class Desk:
    """A person at both widgets, with a viewer that has no window."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        [self.image] = viewer.open_sample(PLUGIN, "fluorescence_nuclei")
        self.widget = self.open()
        self.inspector = self.widget.inspector
        self.controller = self.inspector._controller
        self.settle()

    def open(self) -> QWidget:
        """Open the inspector beside the segmentation widget."""
        self.segmentation = PromptableWidget(self.viewer)
        widget = DecoderInspectorWidget(self.viewer)
        widget.show()
        return widget

    def close(self) -> None:
        """Close both widgets and let Qt delete them."""
        for widget in (self.widget, self.segmentation):
            widget.close()
            widget.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def settle(self) -> None:
        def is_idle() -> bool:
            return not (self.controller.scheduler.is_busy or self.inspector.is_busy)

        self.qtbot.waitUntil(is_idle, timeout=_TIMEOUT_MS)

    def click(self, position_yx: tuple[float, float]) -> None:
        self.press_mouse(position_yx)
        self.qtbot.waitUntil(self.has_explanation, timeout=_TIMEOUT_MS)
        self.settle()

    def press_mouse(self, position_yx: tuple[float, float]) -> None:
        """Add the prompt that a click on the canvas adds."""
        points = self.viewer.layers["prompt points"]
        points.add(points.world_to_data(self.image.data_to_world(position_yx)))

    def has_explanation(self) -> bool:
        return self.find(QComboBox, "token").count() > 0

    def find(self, kind: type[QWidget], name: str) -> Any:
        return self.widget.findChild(kind, name)

    def choose_step(self, number: int) -> None:
        self.qtbot.mouseClick(
            self.find(QPushButton, f"step_{number}"), Qt.MouseButton.LeftButton
        )

    def choose(self, name: str, text: str) -> None:
        box = self.find(QComboBox, name)
        box.setCurrentText(text)
        box.activated.emit(box.currentIndex())


class WindowDesk(Desk):
    """A person in front of napari's window, which a third of the tests need."""

    def open(self) -> QWidget:
        self.viewer.window._qt_window.resize(1400, 900)
        _, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, INSPECTOR)
        return widget

    def move_to(self, position_yx: tuple[float, float]) -> tuple[Any, QPoint]:
        canvas, camera = self.viewer.window._qt_viewer.canvas.native, camera_of(self.viewer)
        y, x = self.image.data_to_world(position_yx)
        pixel = QPoint(
            round((x - camera.center[2]) * camera.zoom + canvas.width() / 2),
            round((y - camera.center[1]) * camera.zoom + canvas.height() / 2),
        )
        self.qtbot.mouseMove(canvas, pixel)
        return canvas, pixel

    def press_mouse(self, position_yx: tuple[float, float]) -> None:
        canvas, pixel = self.move_to(position_yx)
        self.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=pixel)


@pytest.fixture
def desk(qtbot: Any) -> Iterator[Desk]:
    desk = Desk(ViewerModel(), qtbot)
    yield desk
    desk.close()


@pytest.fixture
def window_desk(make_napari_viewer: Callable[..., Any], qtbot: Any) -> WindowDesk:
    desk = WindowDesk(make_napari_viewer(show=True), qtbot)
    desk.viewer.reset_view()
    return desk


def expected(desk: Desk) -> Any:
    """The explanation of the click, computed without a window."""
    model = desk.controller.scheduler.encoder().model
    embedding = encode_image(model, desk.image.data)
    points = desk.viewer.layers["prompt points"].data
    return explain(model, embedding, PromptSet(points))


def test_a_click_is_explained_on_the_image(window_desk: WindowDesk) -> None:
    assert "Click inside an object" in window_desk.find(QLabel, "inspector_status").text()
    assert "attention" not in window_desk.viewer.layers
    window_desk.click(CLICK)
    found = expected(window_desk)
    layer = window_desk.viewer.layers["attention"]
    last = found.steps[-1]
    mask_1 = found.tokens.index("mask 1")
    np.testing.assert_allclose(layer.data, found.token_maps(last)[mask_1], atol=1e-5)
    assert layer.blending == "additive"
    row, column = np.unravel_index(layer.data.argmax(), layer.data.shape)
    brightest = np.asarray(window_desk.image.world_to_data(layer.data_to_world((row, column))))
    np.testing.assert_allclose(
        brightest, found.cell_origin_yx + found.cell_size_yx * (row, column), atol=1e-3
    )
    assert window_desk.viewer.layers.selection.active.name == "prompt points"
    image_box = window_desk.controller.panel.findChild(QComboBox, "image")
    assert "attention" not in [image_box.itemText(i) for i in range(image_box.count())]
    captions = [window_desk.find(QLabel, f"mask_caption_{i}").text() for i in range(4)]
    assert captions == [f"mask {i}\n{iou:.2f}" for i, iou in enumerate(found.predicted_iou)]


def test_step_token_and_head_choose_the_map(desk: Desk) -> None:
    desk.click(CLICK)
    found, layer = expected(desk), desk.viewer.layers["attention"]
    desk.choose_step(2)
    desk.choose("token", "click 1 +")
    desk.choose("head", "3")
    token = found.tokens.index("click 1 +")
    np.testing.assert_allclose(
        layer.data, found.token_maps(found.steps[2], head=2)[token], atol=1e-5
    )
    desk.choose_step(0)
    assert not layer.visible
    matrix = desk.find(QWidget, "token_matrix")
    assert matrix.isVisible()
    np.testing.assert_allclose(matrix.weights, found.steps[0].weights[2], atol=1e-5)
    desk.choose_step(1)
    assert layer.visible and not matrix.isVisible()


def test_the_pointer_reads_cells(window_desk: WindowDesk) -> None:
    window_desk.click(CLICK)
    pointer = window_desk.find(QLabel, "pointer")
    window_desk.move_to((CLICK[0] + 3, CLICK[1]))
    window_desk.qtbot.waitUntil(lambda: "is read by" in pointer.text(), timeout=_TIMEOUT_MS)
    assert pointer.text().startswith("Cell ")
    window_desk.choose_step(2)
    window_desk.move_to((CLICK[0] - 3, CLICK[1]))
    window_desk.qtbot.waitUntil(lambda: " reads: " in pointer.text(), timeout=_TIMEOUT_MS)


def test_the_slider_ends_the_decoder_early(desk: Desk) -> None:
    desk.click(CLICK)
    slider = desk.find(QSlider, "block")
    assert slider.maximum() == 2
    whole = desk.inspector.panel.masks.pictures[1].pixmap().toImage()
    slider.setValue(0)
    assert desk.inspector.panel.masks.pictures[1].pixmap().toImage() != whole
    assert desk.find(QLabel, "mask_caption_1").text() == "mask 1\n"
    assert "after 0 of 2 blocks" in desk.inspector.panel.block_title.text()


def test_another_object_starts_empty(desk: Desk) -> None:
    desk.click(CLICK)
    desk.controller.actions.new_object()
    desk.qtbot.waitUntil(
        lambda: not desk.viewer.layers["attention"].visible, timeout=_TIMEOUT_MS
    )
    assert "Click inside an object" in desk.find(QLabel, "inspector_status").text()


def test_the_layer_goes_with_the_widget(window_desk: WindowDesk) -> None:
    window_desk.click(CLICK)
    window_desk.viewer.window.remove_dock_widget(window_desk.widget)
    assert "attention" not in window_desk.viewer.layers
    assert "prompt points" in window_desk.viewer.layers


def test_the_segmentation_widget_may_close_first(desk: Desk) -> None:
    desk.click(CLICK)
    desk.controller.close()
    assert "attention" not in desk.viewer.layers
    assert "Open “Promptable segmentation”" in desk.find(QLabel, "inspector_status").text()


def test_models_without_global_attention_say_so(desk: Desk) -> None:
    desk.find(QPushButton, "encoder_attention").click()
    text = desk.find(QLabel, "encoder_text")
    assert text.text().startswith("Click an object first")
    desk.click(CLICK)
    assert not text.isVisible()
    desk.find(QPushButton, "encoder_attention").click()
    desk.qtbot.waitUntil(lambda: "ViT-B" in text.text(), timeout=_TIMEOUT_MS)
    assert not desk.find(QComboBox, "encoder_block").isVisible()


def test_the_encoder_shows_what_the_cell_of_the_click_attends_to(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.click(CLICK)
    sam = build_vit_sam(32, 4, 2, [1, 3], image_size=256).eval().requires_grad_(False)
    model = PromptableModel("vit", "any", "vit", sam)
    encoder = replace(desk.controller.scheduler.encoder(), model=model)
    monkeypatch.setattr(desk.controller.scheduler, "encoder", lambda: encoder)
    desk.find(QPushButton, "encoder_attention").click()
    block = desk.find(QComboBox, "encoder_block")
    desk.qtbot.waitUntil(block.isVisible, timeout=_TIMEOUT_MS)
    found = explain_encoder(model, desk.image.data, CLICK)
    layer = desk.viewer.layers["attention"]
    assert [block.itemText(i) for i in range(block.count())] == ["block 2", "block 4"]
    np.testing.assert_allclose(layer.data, found.weights[1].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(layer.scale, found.cell_size_yx)
    desk.choose("encoder_block", "block 2")
    desk.choose("encoder_head", "2")
    np.testing.assert_allclose(layer.data, found.weights[0, 1], atol=1e-6)
    desk.choose_step(2)
    assert not block.isVisible()
    assert layer.data.shape != found.weights.shape[2:]
