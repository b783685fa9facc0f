"""Compute the figure of the tutorial "What does the decoder look at?" with the bundled model.

Run it from the root of the repository, after each change of the weights:

    python docs/scripts/make_attention_figure.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from napari_promptable import (
    Explanation,
    PromptSet,
    encode_image,
    explain,
    load_model,
    predict_masks,
)
from napari_promptable.masks import mask_to_box_yxyx
from napari_promptable.samples.data import load_fluorescence_nuclei, sample_labels

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

PATH = Path(__file__).parents[1] / "images" / "decoder" / "observations.png"
CLICK, OTHER = (299, 316), (331, 298)
POSITIVE, NEGATIVE, BOX, MASK = "#009E73", "#D55E00", "#F0E442", "#56B4E9"
BLOCK_1_IMAGE_TO_TOKENS = 2  # number of the step
FIELD = ((100, 360), (100, 360))  # first and last row, first and last column that are shown


def draw_map(axes: plt.Axes, found: Explanation, values: np.ndarray, **options: object) -> None:
    """Show values of cells, or of the mask's pixels, where they are on the image."""
    size = found.cell_size_yx * found.grid
    top, left = found.cell_origin_yx - found.cell_size_yx / 2
    axes.imshow(values, extent=(left, left + size[1], top + size[0], top), **options)


def draw_prompts(axes: plt.Axes, prompts: PromptSet) -> None:
    """Mark clicks by sign, and the box."""
    for (row, column), label in zip(prompts.points_yx, prompts.point_labels, strict=True):
        style = {"marker": "o", "c": POSITIVE} if label else {"marker": "X", "c": NEGATIVE}
        axes.scatter(column, row, s=70, edgecolors="white", linewidths=1, **style)
    if prompts.box_yxyx is not None:
        top, left, bottom, right = prompts.box_yxyx
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, ec=BOX, lw=1.8)
        )


def main() -> None:
    """A row for each kind of prompt."""
    [(image, *_)] = load_fluorescence_nuclei()
    truth = sample_labels("fluorescence_nuclei")
    model = load_model("tiny")
    embedding = encode_image(model, image)
    rows = {
        "click": PromptSet([CLICK]),
        "click and − click": PromptSet([CLICK, OTHER], [1, 0]),
        "box": PromptSet(box_yxyx=mask_to_box_yxyx(truth == truth[CLICK])),
    }
    figure, grid = plt.subplots(3, 4, figsize=(10, 7.6), layout="constrained")
    for line, (name, prompts) in zip(grid, rows.items(), strict=True):
        found = explain(model, embedding, prompts)
        answer = predict_masks(model, embedding, prompts, multimask_output=None)
        step = found.steps[BLOCK_1_IMAGE_TO_TOKENS]
        maps = found.token_maps(step)
        first, *others = (
            i for i, token in enumerate(found.tokens) if token.startswith(("click", "box"))
        )
        second = others[0] if others else found.tokens.index("mask 0")
        line[0].imshow(image, cmap="gray", vmax=np.percentile(image, 99.8))
        line[0].contour(answer.mask(answer.default), levels=[0.5], colors=MASK, linewidths=1.8)
        line[0].set_ylabel(name, fontsize=12)
        line[0].set_title("answer")
        for axes, token in ((line[1], first), (line[2], second)):
            draw_map(axes, found, maps[token], cmap="magma", vmin=0, vmax=1)
            axes.set_title(f"cells look at “{found.tokens[token]}”", fontsize=10)
        draw_map(line[3], found, found.logits_by_block[0][0], cmap="RdBu_r", vmin=-10, vmax=10)
        line[3].set_title("mask 0 before block 1", fontsize=10)
        for axes in line:
            axes.set(xticks=[], yticks=[], xlim=FIELD[1], ylim=FIELD[0][::-1])
            axes.contour(
                np.isin(truth, (truth[CLICK], truth[OTHER])),
                levels=[0.5],
                colors="gray",
                linewidths=0.8,
            )
            draw_prompts(axes, prompts)
    figure.savefig(PATH, dpi=90)


if __name__ == "__main__":
    main()
