"""Three observations on the bundled nuclei: what the mask decoder looks at.

    python examples/what_the_decoder_looks_at.py

Prints the numbers of the tutorial "What does the decoder look at?".
"""

from __future__ import annotations

import numpy as np

import napari_promptable as npp
from napari_promptable.masks import mask_iou, mask_to_box_yxyx
from napari_promptable.samples.data import load_fluorescence_nuclei, sample_labels

CLICK, OTHER = (299, 316), (331, 298)  # in two nuclei, (row, column)
AMBIGUOUS = (121, 208)


def cells_inside(explanation: npp.Explanation, mask: np.ndarray) -> np.ndarray:
    """Which cells of the decoder have their centre in a mask of the image."""
    cells = np.moveaxis(np.indices(explanation.grid), 0, -1)
    centres = explanation.cell_origin_yx + explanation.cell_size_yx * cells
    rows, columns = np.rint(centres).astype(int).transpose(2, 0, 1)
    height, width = mask.shape
    is_on_image = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return is_on_image & mask[rows.clip(0, height - 1), columns.clip(0, width - 1)]


def final_share(explanation: npp.Explanation, token: str, mask: np.ndarray) -> float:
    """Share of a token's final attention that lies in a mask."""
    maps = explanation.token_maps(explanation.steps[-1])
    return float(maps[explanation.tokens.index(token)][cells_inside(explanation, mask)].sum())


def attention_given_in(explanation: npp.Explanation, token: str, mask: np.ndarray) -> float:
    """Mean attention that the cells in a mask give to a token in block 1."""
    maps = explanation.token_maps(explanation.steps[2])  # image → tokens
    return float(maps[explanation.tokens.index(token)][cells_inside(explanation, mask)].mean())


def mean_logits(explanation: npp.Explanation, mask: np.ndarray) -> str:
    """Mean logit of mask 0 in a mask of the image, after 0, 1 and 2 blocks."""
    pixels = np.kron(cells_inside(explanation, mask), np.ones((4, 4))).astype(bool)
    return ", ".join(
        f"{logits[0][pixels].mean():.1f}" for logits in explanation.logits_by_block
    )


def main() -> None:
    [(image, *_)] = load_fluorescence_nuclei()
    truth = sample_labels("fluorescence_nuclei")
    nucleus, neighbour = truth == truth[CLICK], truth == truth[OTHER]
    model = npp.load_model("tiny")
    embedding = npp.encode_image(model, image)

    print("1. An ambiguous click")
    prompts = npp.PromptSet([AMBIGUOUS])
    levels = npp.predict_masks(model, embedding, prompts)
    explanation = npp.explain(model, embedding, prompts)
    for k, (mask, iou) in enumerate(zip(levels.masks, levels.predicted_iou, strict=True), 1):
        share = final_share(explanation, f"mask {k}", mask)
        print(
            f"   mask {k}: {mask.sum()} pixels, predicted IoU {iou:.2f}, "
            f"reads {share:.0%} inside"
        )

    print("2. A negative click removes a neighbour; 3. A box against a click")
    for name, prompts in {
        "click": npp.PromptSet([CLICK]),
        "two clicks": npp.PromptSet([CLICK, OTHER], [1, 0]),
        "box": npp.PromptSet(box_yxyx=mask_to_box_yxyx(nucleus)),
    }.items():
        answer = npp.predict_masks(model, embedding, prompts, multimask_output=None)
        mask = answer.mask(answer.default)
        explanation = npp.explain(model, embedding, prompts)
        print(f"   {name}: IoU {mask_iou(mask, nucleus):.2f}, ", end="")
        print(f"{mask[neighbour].mean():.0%} of the neighbour covered")
        share = final_share(explanation, "mask 0", nucleus)
        print(f"      mean logit in the nucleus: {mean_logits(explanation, nucleus)}")
        print(f"      mean logit in the neighbour: {mean_logits(explanation, neighbour)}")
        print(f"      mask 0 reads {share:.0%} in the nucleus")
        for token in explanation.tokens[5:]:
            inside = attention_given_in(explanation, token, nucleus)
            beside = attention_given_in(explanation, token, neighbour)
            print(
                f"      {token}: read by the nucleus {inside:.0%}, the neighbour {beside:.0%}"
            )


if __name__ == "__main__":
    main()
