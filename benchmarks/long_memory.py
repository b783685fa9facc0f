"""Memory while SAM 2.1 follows an object through many slices.

    python -m benchmarks.long_memory [--slices 500]

A narrow SAM 2.1 with random weights and an input of 128 pixels follows one object, with as many
memories as the published sizes have. One embedding is held at a time, and masks are dropped as
they come, so that the memory of the chain remains. Prints JSON: what the process holds beyond
its start after a tenth of the slices and at the end, and the time per slice (Linux only).
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

import napari_promptable as npp
from benchmarks.measure import read_status
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam2.hiera import HieraLayout
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.embeddings import SizedCache
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.propagation.volume import propagate_prompts

SIDE = 128
NARROW = HieraLayout(16, 1, (1, 2, 7, 2), (5, 7, 9))
NEVER_STOPPING = npp.PropagationSettings(
    lost_iou=0, min_predicted_iou=0, min_area=0, max_area=float("inf"), min_likeness=0
)


def build_model() -> PromptableModel:
    """Build a narrow network that never says that the object is absent."""
    torch.manual_seed(0)
    sam = Sam2(NARROW, SIDE).eval().requires_grad_(False)
    last = sam.mask_decoder.pred_obj_score_head.layers[-1]
    assert isinstance(last, torch.nn.Linear) and last.bias is not None
    last.bias.fill_(100.0)
    return PromptableModel("narrow", "hiera_tiny", "test", prepare_for_inference(sam))


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=500)
    count = parser.parse_args().slices
    model = build_model()
    volume = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)
    embeddings: SizedCache[int, npp.ImageEmbedding] = SizedCache(max_bytes=0)

    def embed(position: int) -> npp.ImageEmbedding:
        return embeddings.get_or_make(position, lambda: model.encode(volume[position]))

    held = []
    at_start, start = read_status("VmRSS"), time.perf_counter()
    objects = {1: {0: npp.PromptSet([[SIDE / 2, SIDE / 2]])}}
    for _ in propagate_prompts(model, embed, count, objects, NEVER_STOPPING):
        held.append(read_status("VmRSS") - at_start)
    print(
        json.dumps(
            {
                "slices": len(held),
                "mb after a tenth": round(held[len(held) // 10], 1),
                "mb at the end": round(held[-1], 1),
                "ms per slice": round(1000 * (time.perf_counter() - start) / count),
            }
        )
    )


if __name__ == "__main__":
    main()
