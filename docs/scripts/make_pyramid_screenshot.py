"""Take the screenshot of a pyramid for docs/how-to/large.md, as make_screenshots.py does.

The slide is a mosaic of the sample of fluorescence nuclei, written as a zarr pyramid.

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python -m docs.scripts.make_pyramid_screenshot
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

# isort: split  (napari reads where its settings are after the import above)
import napari
import numpy as np
import tifffile
import zarr
from qtpy.QtCore import Qt

from docs.scripts.make_screenshots import PANEL_WIDTH, PLUGIN, WIDGET, WINDOW_SIZE, Screen
from napari_promptable.masks import interior_point_yx
from napari_promptable.samples.data import sample_labels, sample_path

SAMPLE, TILES = "fluorescence_nuclei", 32
STEPS = (1, 2, 4, 8, 16)


def write_slide(folder: Path) -> list[Any]:
    """Write the mosaic at each resolution."""
    tile = tifffile.imread(sample_path(SAMPLE))
    low, high = np.percentile(tile, (0.5, 99.8))
    tile = (255 * np.clip((tile - low) / (high - low), 0, 1)).astype(np.uint8)
    levels = []
    for step in STEPS:
        part = tile[::step, ::step]
        shape = tuple(TILES * n // step for n in tile.shape)
        level = zarr.create_array(
            folder / str(step), shape=shape, chunks=(512, 512), dtype="u1"
        )
        for row in range(0, shape[0], 512):
            band = np.arange(row, min(row + 512, shape[0])) % part.shape[0]
            level[row : row + 512] = part[np.ix_(band, np.arange(shape[1]) % part.shape[1])]
        levels.append(level)
    return levels


def main() -> None:
    """Zoom in to a part of the slide, commit some nuclei, and leave a preview."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["NAPARI_PROMPTABLE_CACHE"] = str(Path(name) / "cache")
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*WINDOW_SIZE)
        levels = write_slide(Path(name))
        viewer.add_image(levels, name="slide", multiscale=True, scale=(0.5, 0.5), units="µm")
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        tile = sample_labels(SAMPLE)
        screen = Screen(viewer, widget, tile)
        screen.wait()
        viewer.window._qt_window.resizeDocks([dock], [PANEL_WIDTH], Qt.Orientation.Horizontal)
        corner = TILES // 2 * np.array(tile.shape)
        middle = corner + np.array(tile.shape) / 2
        viewer.scene.camera.center = tuple(0.5 * middle)
        viewer.scene.camera.zoom = 2 * screen.canvas.height() / (0.8 * tile.shape[0])
        screen.wait()
        inside = sorted(
            (interior_point_yx(tile == label) for label in np.unique(tile)[1:]),
            key=lambda point: float(np.hypot(*(point - np.array(tile.shape) / 2))),
        )
        for point in inside[1:8]:
            screen.click(corner + point)
            screen.press(Qt.Key.Key_C)
        screen.click(corner + inside[0])
        screen.push("encoding_fold")
        screen.save("pyramid")
        widget.controller.close()
        viewer.close()


if __name__ == "__main__":
    main()
