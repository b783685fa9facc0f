"""Take the pictures of the tutorial "Label five, find the rest", and the README's animation.

The real plugin labels five axons, learns from them, finds the rest and shows a doubtful one.
That takes about five minutes. Run it from the root of the repository:

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python docs/scripts/make_learning_pictures.py
"""

# make_screenshots sets the environment before napari is imported:
# ruff: noqa: I001

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from make_screenshots import _SETTINGS, FOLDER, Screen, open_screen

import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_promptable import encode_image, load_model
from napari_promptable.evaluation.evaluate import Protocol, correction_click, score_objects
from napari_promptable.masks import interior_point_yx, mask_iou
from napari_promptable.prompts import FOREGROUND
from napari_promptable.samples.learning_demo import choose_labels

MINUTES = 1.5
LARGE = 400  # pixels
GOOD_IOU, MOST_CORRECTIONS = 0.93, 7
ANIMATION, ANIMATION_WIDTH, NUM_COLORS = "label-five.gif", 860, 96
MAX_BYTES = 2_000_000
_PATIENCE_S = 900


@dataclass
class Film:
    """Frames of the window, each with the time for which it is shown.

    Attributes
    ----------
    screen : Screen
        The window.
    frames : list of Image
        Reduced to the animation's width.
    durations : list of int
        Milliseconds.
    """

    screen: Screen
    frames: list[Image.Image] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)

    def shoot(self, milliseconds: int, name: str = "") -> None:
        """Add what can be seen now, and save it as a picture of the tutorial if it is named."""
        pixels = photograph(self.screen)
        if name:
            save_picture(pixels, name)
        image = Image.fromarray(pixels)
        height = round(image.height * ANIMATION_WIDTH / image.width)
        self.frames.append(image.resize((ANIMATION_WIDTH, height), Image.Resampling.LANCZOS))
        self.durations.append(milliseconds)

    def save(self) -> None:
        """Write the animation, with fewer colours if it gets too large."""
        path, colors = FOLDER / ANIMATION, NUM_COLORS
        while True:
            palette = self.frames[-1].quantize(colors)
            first, *others = (
                frame.quantize(palette=palette, dither=Image.Dither.NONE)
                for frame in self.frames
            )
            first.save(
                path,
                save_all=True,
                append_images=others,
                duration=self.durations,
                loop=0,
                optimize=True,
            )
            if path.stat().st_size <= MAX_BYTES or colors <= 16:
                return
            colors //= 2


def photograph(screen: Screen) -> np.ndarray:
    """Pixels of the window, with the window of learning on it where that is open."""
    screen.wait()
    pixels = screen.viewer.screenshot(canvas_only=False, flash=False)[..., :3].copy()
    dialog = screen.widget.controller.panel.learning
    if dialog.isVisible():
        shown = to_array(dialog)
        top, left = (np.array(pixels.shape[:2]) - shown.shape[:2]) // 2
        pixels[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return pixels


def to_array(widget: QWidget) -> np.ndarray:
    """Pixels of a widget, ndarray of uint8, shape (H, W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "widget.png"
        widget.grab().save(str(path))
        return np.asarray(Image.open(path).convert("RGB"))


def save_picture(pixels: np.ndarray, name: str) -> None:
    """Write a picture of the tutorial."""
    Image.fromarray(pixels >> 2 << 2).save(FOLDER / f"{name}.png", optimize=True)


def find_miss(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mask of a large object that one click misses most, before the model has learned."""
    model = load_model("tiny", device="cpu")
    scores = score_objects(model, encode_image(model, image), labels, Protocol())
    large = [score for score in scores if score.area >= LARGE]
    return labels == min(large, key=lambda score: score.ious[0]).label


def label(screen: Screen, film: Film, mask: np.ndarray, milliseconds: int) -> None:
    """Click an object and correct the answer until it is good, then commit it."""
    screen.push("tool_positive")
    screen.click(interior_point_yx(mask))
    film.shoot(milliseconds)
    session, index = screen.workspace.session, screen.workspace.visible_index()
    for _ in range(MOST_CORRECTIONS):
        answer = session.answers.mask(index).unpack()
        correction = correction_click(mask, answer)
        if correction is None or mask_iou(answer, mask) >= GOOD_IOU:
            break
        point_yx, sign = correction
        screen.push("tool_positive" if sign == FOREGROUND else "tool_negative")
        screen.click(point_yx)
        film.shoot(milliseconds)
    screen.press(Qt.Key.Key_C)
    film.shoot(milliseconds)


def learn(screen: Screen, film: Film) -> None:
    """Learn in the plugin's own process until there is a result."""
    actions = screen.widget.controller.learning_actions
    actions._learning.settings["minutes"] = MINUTES
    results: list[Any] = []
    actions._learning.finished.connect(results.append)
    screen.push("learn")
    start, shots = time.monotonic(), 0
    while not results:  # the learning process
        QApplication.processEvents()
        time.sleep(0.02)
        if time.monotonic() - start > _PATIENCE_S:
            raise TimeoutError(f"learning took more than {_PATIENCE_S} s")
        if time.monotonic() - start > 20 * (shots + 1):
            shots += 1
            film.shoot(350, "learn-running" if shots == 3 else "")
    film.shoot(2500, "learn-result")
    if not results[0]["is_better"]:
        raise RuntimeError(
            f"the model is not better, so there is nothing to show: {results[0]}"
        )
    screen.push("use_learned")


def main() -> None:
    """Label five, learn, find the rest, look at a doubtful one."""
    screen = open_screen("axons", 100)
    labelled, tested = choose_labels(screen.truth)
    film = Film(screen)
    film.shoot(900)
    first = find_miss(screen.workspace.image.data, tested)
    screen.click(interior_point_yx(first))
    film.shoot(900, "learn-before")
    screen.push("clear_prompts")
    for number in np.unique(labelled)[1:]:
        label(screen, film, labelled == number, 350)
    screen.push("objects_fold")
    film.shoot(900, "learn-labelled")
    learn(screen, film)
    screen.push("tool_positive")
    screen.click(interior_point_yx(first))
    film.shoot(900, "learn-after")
    screen.push("clear_prompts")
    screen.push("auto")
    screen.push("auto_find")
    film.shoot(2000, "learn-found")
    screen.push("auto_commit")
    film.shoot(900)
    screen.push("auto_close")
    screen.press(Qt.Key.Key_D)
    film.shoot(2500, "learn-doubtful")
    film.save()
    screen.viewer.close()
    _SETTINGS.cleanup()


if __name__ == "__main__":
    main()
