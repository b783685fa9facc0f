"""End Python with the widget open and work running: left_open.py [hidden].

test_crashes.py runs it. It paints a label just before the end, so that no
timer can have saved it.
"""

import sys

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

PLUGIN, WIDGET = "napari-promptable", "Promptable segmentation"
PAINTED = 7


def main() -> None:
    """Open the widget, start to encode all slices, paint, and end."""
    viewer = napari.Viewer(show="hidden" not in sys.argv)
    viewer.add_image(np.random.default_rng(0).random((5, 128, 128), np.float32))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    controller = widget.controller
    waker = QTimer()
    waker.start(20)  # ms; without events the loop would burn the time that the work needs
    while controller.workspace.job is None or controller.scheduler.is_busy:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    waker.stop()
    controller.scheduler.encode_all()
    QApplication.processEvents()
    pixel = tuple(np.array([i]) for i in (0, 3, 4))
    controller.workspace.job.labels_layer.data_setitem(pixel, PAINTED)


if __name__ == "__main__":
    main()
