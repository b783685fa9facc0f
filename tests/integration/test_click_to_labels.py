"""From a real click with the bundled weights to a labels file."""

import numpy as np
import pytest
from scipy import ndimage

from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.masks import mask_iou
from napari_promptable.samples.data import sample_labels

pytestmark = pytest.mark.gui

_TIMEOUT_MS = 120_000


def interior_point(mask: np.ndarray) -> tuple[int, ...]:
    """Pixel farthest from the border of a mask."""
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.unravel_index(distance.argmax(), mask.shape)


def test_click_to_labels_file(make_napari_viewer, qtbot, tmp_path) -> None:
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtWidgets import QWidget

    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1200, 860)
    [image] = viewer.open_sample("napari-promptable", "fluorescence_nuclei")
    truth = sample_labels("fluorescence_nuclei")
    sizes = np.bincount(truth.ravel())[1:]
    number = int(np.argsort(sizes)[int(0.7 * len(sizes))]) + 1  # a large one, not a clump
    _, widget = viewer.window.add_plugin_dock_widget(
        "napari-promptable", "Promptable segmentation"
    )
    scheduler = widget.controller.scheduler
    qtbot.waitUntil(lambda: not scheduler.is_busy, timeout=_TIMEOUT_MS)
    viewer.reset_view()

    canvas, camera = viewer.window._qt_viewer.canvas.native, camera_of(viewer)
    y, x = image.data_to_world(interior_point(truth == number))
    pixel = QPoint(
        round((x - camera.center[2]) * camera.zoom + canvas.width() / 2),
        round((y - camera.center[1]) * camera.zoom + canvas.height() / 2),
    )
    qtbot.mouseMove(canvas, pixel)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=pixel)
    qtbot.waitUntil(lambda: not scheduler.is_busy, timeout=_TIMEOUT_MS)
    mask = np.asarray(viewer.layers["preview"].data) == 1
    assert mask_iou(mask, truth == number) > 0.5

    qtbot.mouseClick(widget.findChild(QWidget, "commit"), Qt.MouseButton.LeftButton)
    objects = viewer.layers[f"{image.name} objects"]
    np.testing.assert_array_equal(objects.data == 1, mask)
    path = tmp_path / "objects.tif"
    assert objects.save(str(path)) == [str(path)]
    [saved] = viewer.open(path, layer_type="labels")
    np.testing.assert_array_equal(saved.data, objects.data)
