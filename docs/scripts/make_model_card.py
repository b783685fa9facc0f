"""Write the figures of the bundled model into docs/model-card.md and README.md.

Run it from the root of the repository, after each change of the weights:

    python docs/scripts/make_model_card.py

The figures are those in the weights file's metadata; the pictures of failures are made with the
bundled sample images.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from safetensors import safe_open

from napari_promptable import encode_image, load_model
from napari_promptable.evaluation.evaluate import Protocol, evaluate_plane, first_prompt
from napari_promptable.files.images import read_image
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.samples.data import WITH_PROMPTS, sample_labels, sample_path
from napari_promptable.transforms import to_rgb8
from napari_promptable.weights.checkpoints import checkpoint_path

ROOT = Path(__file__).parents[2]
START, END = "<!-- figures of the {}: begin -->\n", "<!-- figures of the {}: end -->\n"
TABLES = {"weights": "metrics", "weights on new datasets": "metrics_of_new_datasets"}
"""Names of the tables in the pages and in the metadata."""

COLUMNS = {
    "exact box": ("box", "mean_iou"),
    "jittered box": ("jittered box", "mean_iou"),
    "one click": ("point", "mean_iou"),
    "best of three": ("point", "mean_iou_oracle"),
    "error of predicted IoU": ("point", "predicted_iou_error"),
}
MIN_FAILED_AREA, NUM_FAILED = 150, 4


def make_table(metrics: dict) -> str:
    """One line per dataset, and the mean over them."""
    names = list(metrics["point"]["per_dataset"])
    corrections = range(1, metrics["point"]["corrections"] + 1)
    head = ["dataset", "objects", *COLUMNS, *(f"+{n}" for n in corrections)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in [*names, None]:
        found = {
            protocol: summary["per_dataset"][name] if name else summary["mean_over_datasets"]
            for protocol, summary in metrics.items()
        }
        values = [found[protocol][key] for protocol, key in COLUMNS.values()]
        values += found["point"]["iou_by_corrections"][1:]
        count = str(found["box"].get("n_objects", ""))
        cells = [name or "**mean over datasets**", count, *(f"{v:.3f}" for v in values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def replace_figures(path: Path, name: str, text: str) -> None:
    """Put text between the two markers of a table."""
    start, end = START.format(name), END.format(name)
    before, rest = path.read_text(encoding="utf-8").split(start)
    _, after = rest.split(end)
    path.write_text(before + start + text + end + after, encoding="utf-8")


def draw_failures(path: Path) -> None:
    """Draw the objects of the samples that one click segments worst."""
    model, protocol = load_model("tiny", device="cpu"), Protocol("point")
    scored = []
    for name in WITH_PROMPTS:
        image, labels = read_image(sample_path(name)), sample_labels(name)
        for score in evaluate_plane(model, image, labels, protocol):
            if score.area >= MIN_FAILED_AREA:
                scored.append((score.ious[0], name, score.label))
    worst = sorted(scored)[:NUM_FAILED]
    figure = Figure(figsize=(2.6 * NUM_FAILED, 3), layout="constrained")
    for axes, (iou, name, label) in zip(figure.subplots(1, NUM_FAILED), worst, strict=True):
        image, truth = read_image(sample_path(name)), sample_labels(name) == label
        prompts = first_prompt(truth, protocol, np.random.default_rng(0))
        answer = answer_prompts(model, encode_image(model, image), prompts)[-1].prediction
        mask = answer.masks[answer.default]
        row, column = prompts.points_yx[0]
        reach = 1.5 * np.sqrt(max(truth.sum(), min(mask.sum(), 4 * truth.sum())))
        axes.imshow(to_rgb8(image))
        axes.contour(truth, [0.5], colors="#E69F00", linewidths=1.8)
        axes.contour(mask, [0.5], colors="#56B4E9", linewidths=1.8)
        axes.scatter(column, row, s=50, c="#009E73", edgecolors="white")
        axes.set(xticks=[], yticks=[], title=f"IoU {iou:.2f}")
        axes.set(xlim=(column - reach, column + reach), ylim=(row + reach, row - reach))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    Image.open(buffer).convert("RGB").save(path, optimize=True)


def main() -> None:
    """Bring both pages and the picture up to date."""
    with safe_open(checkpoint_path("tiny"), "numpy") as file:
        metadata = file.metadata()
    tables = {
        name: make_table(json.loads(metadata[key]))
        for name, key in TABLES.items()
        if key in metadata  # the first generation was measured on the first datasets only
    }
    replace_figures(ROOT / "README.md", "weights", tables["weights"])
    for name, table in tables.items():
        replace_figures(ROOT / "docs/model-card.md", name, table)
    draw_failures(ROOT / "docs/images/failures.png")


if __name__ == "__main__":
    main()
