"""How much masks change when embeddings are stored in float16: IoU with float32's.

    python -m benchmarks.half_embeddings IMAGES LABELS [--split val] [--every 4] [--model tiny]
    python -m benchmarks.half_embeddings IMAGES LABELS --whole

Prints a row per kind of prompt; IMAGES and LABELS are as for `napari-promptable evaluate`.
`tiny` answers on magnified parts of a slice, which are not stored; with --whole it answers on
the whole slice, as the other models do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import napari_promptable as npp
from benchmarks.precision import Rows, compare, make_parser, print_rows, sample_objects
from napari_promptable.predict.embeddings import plane_key
from napari_promptable.transforms import to_rgb8


def main() -> None:
    """Parse the command line, compare and print."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    model = npp.load_model(arguments.model)
    if arguments.whole:
        model.sam.tile_size = None
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as folder:
        store = npp.EmbeddingStore(Path(folder) / "half.zarr", dtype="float16")
        for image, masks in sample_objects(arguments):
            rgb = to_rgb8(image)
            embedding, key = model.encode(rgb, (0, 255)), plane_key(rgb, model.model_id)
            store.put(key, embedding)
            half = store.get(key, rgb)
            assert half is not None
            compare(rows, [(model, embedding), (model, half)], masks)
    print_rows(rows, "float16")


if __name__ == "__main__":
    main()
