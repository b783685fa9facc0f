"""Compute the figures of docs/explanation/mask-decoder.md with the bundled model.

Run it from the root of the repository, after each change of the weights:

    python docs/scripts/make_decoder_figures.py
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image as PillowImage
from scipy import ndimage
from torch import nn

from napari_promptable import PromptSet, encode_image, explain, load_model, predict_masks
from napari_promptable.masks import (
    interior_point_yx,
    mask_iou,
    mask_to_box_yxyx,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.samples.data import load_fluorescence_nuclei, sample_labels
from napari_promptable.transforms import image_to_model_xy, to_rgb8
from napari_promptable.weights.checkpoints import checkpoint_path
from napari_promptable.weights.loading import load_checkpoint

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import PowerNorm

FOLDER = Path(__file__).parents[1] / "images" / "decoder"
MIN_OBJECT_PIXELS = 300
POSITIVE, NEGATIVE, BOX, MASK, TRUTH = "#009E73", "#D55E00", "#F0E442", "#56B4E9", "#E69F00"


@dataclass(frozen=True, eq=False)
class Scene:
    """One sample image with its truth, encoded.

    Attributes
    ----------
    model : PromptableModel
        The bundled model.
    image : ndarray of uint8, shape (H, W, 3)
        As the network sees it, before it is resized.
    truth : ndarray of int, shape (H, W)
        Labels drawn by people.
    embedding : ImageEmbedding
        Of the image.
    """

    model: PromptableModel
    image: np.ndarray
    truth: np.ndarray
    embedding: ImageEmbedding

    def masks(self) -> list[np.ndarray]:
        """Objects that are large enough to be seen and do not touch the border."""
        inner = np.zeros(self.truth.shape, bool)
        inner[1:-1, 1:-1] = True
        masks = [self.truth == label for label in np.unique(self.truth) if label > 0]
        return [
            mask
            for mask in masks
            if mask.sum() >= MIN_OBJECT_PIXELS and not (mask & ~inner).any()
        ]

    def cells(self, maps: np.ndarray) -> np.ndarray:
        """Cut the padding of the network's input off from maps of the embedding's grid."""
        stride = self.model.sam.patch_stride
        rows, columns = (-(-side // stride) for side in self.embedding.input_size)
        return maps[..., :rows, :columns]


def make_scene(image: np.ndarray, truth: np.ndarray) -> Scene:
    """Encode an image with the bundled model, as it was trained: nothing is exchanged in it."""
    sam = load_checkpoint(checkpoint_path("tiny"), "conv_tiny_2")
    model = replace(load_model("tiny", device="cpu"), sam=sam)
    model.sam.tile_size = None  # one look at the whole image, as SAM's, instead of at tiles
    return Scene(model, to_rgb8(image, None), truth, encode_image(model, image))


# values inside the network


@contextmanager
def record_inputs(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect the inputs of a layer."""
    inputs: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        yield inputs
    finally:
        handle.remove()


def similarity_of_click(scene: Scene, click_yx: np.ndarray) -> np.ndarray:
    """Cosine between the positional encodings of a click and of all cells, (rows, columns)."""
    encoder = scene.model.sam.prompt_encoder
    [position_xy] = image_to_model_xy(
        click_yx[None], scene.embedding.original_size, scene.embedding.input_size
    )
    side = scene.model.sam.image_size
    with torch.inference_mode():
        click = encoder.pe_layer((torch.from_numpy(position_xy).float() + 0.5) / side)
        grid = encoder.dense_positional_encoding()[0]
    # Sines and cosines of the same phases: every encoding has the same length.
    return torch.einsum("c,crk->rk", click, grid).numpy() / len(click) * 2


def prompt_maps(scene: Scene, prompts: PromptSet) -> np.ndarray:
    """Maps that the dense branch of `tiny` is given, (4, 4 * rows, 4 * columns)."""
    with record_inputs(scene.model.sam.prompt_encoder.mask_downscaling) as inputs:
        predict_masks(scene.model, scene.embedding, prompts)
    return inputs[0][0].numpy()


def attention_maps(scene: Scene, click_yx: np.ndarray) -> dict[str, np.ndarray]:
    """Attention of the tokens to the image in both blocks and at the end, by name.

    Returns
    -------
    dict of str to ndarray, shape (T, rows, columns)
        Tokens are: IoU, masks 0 to 3, the click, padding. Each map sums to 1.
    """
    found = explain(scene.model, scene.embedding, PromptSet([click_yx]))
    return {
        "final" if step.block == found.num_blocks else f"block {step.block + 1}": (
            found.token_maps(step)
        )
        for step in found.steps
        if step.direction == "tokens → image"
    }


def four_masks(scene: Scene, prompts: PromptSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low-res logits, masks and predicted IoU of masks 0 to 3."""
    single = predict_masks(scene.model, scene.embedding, prompts, multimask_output=False)
    levels = predict_masks(scene.model, scene.embedding, prompts, multimask_output=True)
    return (
        np.concatenate([single.low_res_logits, levels.low_res_logits]),
        np.concatenate([single.masks, levels.masks]),
        np.concatenate([single.predicted_iou, levels.predicted_iou]),
    )


@dataclass(frozen=True, eq=False)
class Correction:
    """A first click, the error of its mask, and a second click.

    Attributes
    ----------
    truth : ndarray of bool, shape (H, W)
        The object.
    points_yx, labels : ndarray, shapes (2, 2) and (2,)
        Both clicks.
    before, without_logits, with_logits : ndarray of bool, shape (H, W)
        Masks after one click and after both, without and with the logits before.
    """

    truth: np.ndarray
    points_yx: np.ndarray
    labels: np.ndarray
    before: np.ndarray
    without_logits: np.ndarray
    with_logits: np.ndarray

    def iou(self, name: str) -> float:
        """IoU of one of the three masks with the object."""
        return mask_iou(getattr(self, name), self.truth)

    def gain(self) -> float:
        """How much better the mask is after the second click."""
        return self.iou("with_logits") - self.iou("before")


def correct(scene: Scene, truth: np.ndarray) -> Correction:
    """Click into an object, then into the largest error."""

    def offered(prediction: Prediction) -> np.ndarray:
        return prediction.masks[prediction.default]

    first = interior_point_yx(truth)
    answer = predict_masks(scene.model, scene.embedding, PromptSet([first]), None)
    errors, count = ndimage.label(offered(answer) != truth)
    sizes = ndimage.sum_labels(np.ones(truth.shape), errors, range(1, count + 1))
    second = interior_point_yx(errors == 1 + int(np.argmax(sizes)))
    row, column = second.astype(int)
    points, labels = np.stack([first, second]), np.array([1, int(truth[row, column])])
    logits = answer.low_res_logits[answer.default]
    return Correction(
        truth,
        points,
        labels,
        offered(answer),
        *(
            offered(
                predict_masks(
                    scene.model,
                    scene.embedding,
                    PromptSet(points, labels, None, mask_logits),
                    None,
                )
            )
            for mask_logits in (None, logits)
        ),
    )


# drawing


def draw_image(axes: plt.Axes, scene: Scene, title: str = "") -> None:
    """Show the image without ticks."""
    axes.imshow(scene.image)
    axes.set(xticks=[], yticks=[], title=title)


def draw_map(
    axes: plt.Axes, scene: Scene, values: np.ndarray, title: str = "", **options: object
) -> None:
    """Show a map over the field of the image, so that positions are image pixels."""
    height, width = scene.image.shape[:2]
    axes.imshow(values, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **options)
    axes.set(xticks=[], yticks=[], title=title)


def draw_clicks(
    axes: plt.Axes, points_yx: np.ndarray, labels: Sequence[int] = (1, 1), size: float = 90
) -> None:
    """Mark clicks: a green disc is positive, an orange cross negative."""
    for (row, column), label in zip(points_yx, labels, strict=False):
        style = {"marker": "o", "c": POSITIVE} if label else {"marker": "X", "c": NEGATIVE}
        axes.scatter(column, row, s=size, edgecolors="white", linewidths=1.2, **style)


def draw_outline(axes: plt.Axes, mask: np.ndarray, color: str) -> None:
    """Draw the border of a mask."""
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=color, linewidths=1.8)


def zoom_to(axes: plt.Axes, masks: Sequence[np.ndarray], margin: float = 0.4) -> None:
    """Show the square around masks with a margin."""
    top, left, bottom, right = mask_to_box_yxyx(np.logical_or.reduce(masks))
    half = (0.5 + margin) * max(bottom - top, right - left)
    row, column = (top + bottom) / 2, (left + right) / 2
    axes.set(xlim=(column - half, column + half), ylim=(row + half, row - half))


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as a small PNG."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    picture = PillowImage.open(buffer).convert("RGB")
    picture.save(FOLDER / f"{name}.png", optimize=True)


def make_position_figure(scene: Scene, click_yx: np.ndarray) -> None:
    """Similarity of each place's positional encoding to the encoding of a click."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.9), layout="constrained")
    draw_image(left, scene, "image and click")
    similarity = scene.cells(similarity_of_click(scene, click_yx))
    draw_map(right, scene, similarity, "cosine of encodings", vmin=-1, vmax=1, cmap="RdBu_r")
    figure.colorbar(right.images[0], ax=right, shrink=0.85)
    for axes in (left, right):
        draw_clicks(axes, click_yx[None])
    save(figure, "position")


def make_maps_figure(scene: Scene, target: np.ndarray, click_yx: np.ndarray) -> None:
    """The four dense prompt maps of `tiny`."""
    top, left, bottom, right = box = mask_to_box_yxyx(target)
    negative = np.array([(top + bottom) / 2, right + 0.3 * (right - left)])
    negative = np.clip(negative, 0, np.array(target.shape) - 1)
    logits = predict_masks(scene.model, scene.embedding, PromptSet([click_yx]), None)
    maps = prompt_maps(
        scene,
        PromptSet([click_yx, negative], [1, 0], box, logits.low_res_logits[logits.default]),
    )
    figure, panels = plt.subplots(1, 5, figsize=(10, 2.5), layout="constrained")
    draw_image(panels[0], scene, "prompts")
    draw_clicks(panels[0], np.stack([click_yx, negative]), [1, 0], size=50)
    corners = plt.Rectangle((left, top), right - left, bottom - top, ec=BOX, fc="none", lw=1.8)
    panels[0].add_patch(corners)
    titles = ("positive clicks", "negative clicks", "box", "logits before / 5")
    rows, columns = (4 * side for side in scene.embedding.features.shape[1:])
    for axes, title, values in zip(panels[1:], titles, maps, strict=True):
        limits = {"vmin": -2, "vmax": 2, "cmap": "RdBu_r"}
        if "logits" not in title:
            limits = {"vmin": 0, "vmax": 1, "cmap": "viridis"}
        cut = _cut_low_res(scene, values[:rows, :columns])
        draw_map(axes, scene, cut, title, **limits)
    for axes in panels:
        zoom_to(axes, [target], margin=1.6)
    save(figure, "prompt-maps")


def make_attention_figure(scene: Scene, target: np.ndarray, click_yx: np.ndarray) -> None:
    """Where four of the tokens look, in both blocks and at the end."""
    tokens = {"IoU token": 0, "mask token 0": 1, "mask token 1": 2, "click token": 5}
    maps = attention_maps(scene, click_yx)
    figure, panels = plt.subplots(
        len(maps), 1 + len(tokens), figsize=(9, 5.9), layout="constrained"
    )
    for number_of_row, (name, weights) in enumerate(maps.items()):
        row, is_first = panels[number_of_row], number_of_row == 0
        draw_image(row[0], scene, "image" if is_first else "")
        draw_clicks(row[0], click_yx[None], size=40)
        row[0].set_ylabel(name, size="large")
        for axes, (token, number) in zip(row[1:], tokens.items(), strict=True):
            shown = scene.cells(weights[number])
            norm = PowerNorm(0.5, vmin=0)  # so that faint cells are seen too
            draw_map(axes, scene, shown, token if is_first else "", norm=norm, cmap="magma")
            axes.set_xlabel(f"brightest: {100 * shown.max():.0f} %")
        for axes in row:
            draw_outline(axes, target, TRUTH)
            zoom_to(axes, [target], margin=1.0)
    save(figure, "attention")


def make_masks_figure(scene: Scene, target: np.ndarray, click_yx: np.ndarray) -> None:
    """The four mask logits for one click, with predicted and true IoU."""
    logits, masks, predicted = four_masks(scene, PromptSet([click_yx]))
    figure, panels = plt.subplots(1, 4, figsize=(8.4, 2.8), layout="constrained")
    limit = 10
    for number, axes in enumerate(panels):
        shown = _cut_low_res(scene, logits[number])
        draw_map(axes, scene, shown, f"mask {number}", vmin=-limit, vmax=limit, cmap="RdBu_r")
        draw_outline(axes, masks[number], "black")
        draw_clicks(axes, click_yx[None], size=40)
        true_iou = mask_iou(masks[number], target)
        axes.set_xlabel(f"predicted IoU {predicted[number]:.2f}\ntrue IoU {true_iou:.2f}")
        zoom_to(axes, [target], margin=1.2)
    figure.colorbar(panels[-1].images[0], ax=panels[-1], shrink=0.7, label="logit")
    save(figure, "masks")


def make_correction_figure(scene: Scene, corrections: list[Correction]) -> None:
    """Effect of a second click, without and with the earlier logits."""
    inner = [made for made in corrections if not touches_margin(made.truth)]
    shown = max(inner, key=Correction.gain)
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 3.5), layout="constrained")
    contents = (
        ("one click", "before", 1),
        ("two clicks", "without_logits", 2),
        ("two clicks + logits before", "with_logits", 2),
    )
    for axes, (title, name, count) in zip(panels, contents, strict=True):
        draw_image(axes, scene, title)
        draw_outline(axes, shown.truth, TRUTH)
        draw_outline(axes, getattr(shown, name), MASK)
        draw_clicks(axes, shown.points_yx[:count], shown.labels)
        mean = np.mean([made.iou(name) for made in corrections])
        axes.set_xlabel(
            f"IoU here {shown.iou(name):.2f}\nmean of {len(corrections)} objects {mean:.2f}"
        )
        zoom_to(axes, [shown.truth, shown.before, shown.with_logits])
    save(figure, "correction")


def touches_margin(mask: np.ndarray, margin: int = 25) -> bool:
    """Whether a mask comes so near to the border that a close-up would show it."""
    return bool(mask.sum() - mask[margin:-margin, margin:-margin].sum())


def _cut_low_res(scene: Scene, values: np.ndarray) -> np.ndarray:
    """Cut the padding of the network's input off from a map of 4 × 4 pixels per cell."""
    scale = 4 / scene.model.sam.patch_stride
    rows, columns = (round(side * scale) for side in scene.embedding.input_size)
    return values[:rows, :columns]


def main() -> None:
    """Make all figures."""
    plt.rcParams.update({"font.size": 10, "axes.titlesize": 10.5, "image.cmap": "gray"})
    plt.rcParams.update({"image.interpolation": "nearest", "axes.facecolor": "black"})
    [(image, *_)] = load_fluorescence_nuclei()
    truth = sample_labels("fluorescence_nuclei")
    scene = make_scene(image, truth)
    middle = np.array(truth.shape) / 2
    target = min(
        scene.masks(), key=lambda mask: np.linalg.norm(interior_point_yx(mask) - middle)
    )
    click_yx = interior_point_yx(target)
    make_position_figure(scene, click_yx)
    make_maps_figure(scene, target, click_yx)
    make_attention_figure(scene, target, click_yx)
    make_masks_figure(scene, target, click_yx)
    make_correction_figure(scene, [correct(scene, mask) for mask in scene.masks()])


if __name__ == "__main__":
    main()
