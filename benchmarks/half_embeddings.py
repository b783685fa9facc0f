"""How much masks change when embeddings are stored in float16: IoU with float32's.

    python -m benchmarks.half_embeddings IMAGES LABELS [--split val] [--every 4] [--model tiny]
    python -m benchmarks.half_embeddings IMAGES LABELS --whole

Prints a row per kind of prompt; IMAGES and LABELS are as for `napari-promptable evaluate`.
`tiny` answers on magnified parts of a slice, which are not stored; with --whole it answers on
the whole slice, as the other models do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import napari_promptable as npp
from benchmarks.precision import OBJECTS_PER_PLANE, PROMPTS
from napari_promptable.embeddings import plane_key
from napari_promptable.labelled_images import find_labelled_files
from napari_promptable.masks import mask_iou
from napari_promptable.transforms import to_rgb8


def main() -> None:
    """Parse the command line, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--every", type=int, default=4, help="take every nth file")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    model = npp.load_model(arguments.model)
    if arguments.whole:
        model.sam.tile_size = None
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PROMPTS}
    files = find_labelled_files(arguments.images, arguments.labels, arguments.split)
    with tempfile.TemporaryDirectory() as folder:
        store = npp.EmbeddingStore(Path(folder) / "half.zarr", dtype="float16")
        for file in files[:: arguments.every]:
            _, image, labels = next(file.planes())
            ids = np.unique(labels)[1:]
            masks = [labels == label for label in ids[:: max(1, len(ids) // OBJECTS_PER_PLANE)]]
            rgb = to_rgb8(image)
            embedding, key = model.encode(rgb, (0, 255)), plane_key(rgb, model.model_id)
            store.put(key, embedding)
            half = store.get(key, rgb)
            assert half is not None
            for name, make_prompt in PROMPTS.items():
                prompts = [make_prompt(mask) for mask in masks]
                exact, coarse = (
                    [p.mask(p.best) for p in npp.predict_many(model, value, prompts)]
                    for value in (embedding, half)
                )
                rows[name] += [
                    (mask_iou(a, b), mask_iou(a, mask), mask_iou(b, mask))
                    for a, b, mask in zip(exact, coarse, masks, strict=True)
                ]
    print("| prompt | objects | mean IoU of both | lowest 5 % | float32 | float16 |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        between, exact_iou, coarse_iou = np.array(values).T
        low = np.quantile(between, 0.05)
        means = f"{between.mean():.4f} | {low:.4f} | {exact_iou.mean():.4f}"
        print(f"| {name} | {len(values)} | {means} | {coarse_iou.mean():.4f} |")


if __name__ == "__main__":
    main()
