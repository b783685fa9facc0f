"""A small sample of the images that `tiny` was trained on, so that learning forgets little.

The archive holds ``index.json``, then ``NNN.webp`` and ``NNN.png`` (image and labels) of each
entry, and the licences of the images. `training.make_replay` writes it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from napari_promptable.errors import CheckpointError
from napari_promptable.files.writing import complete_file
from napari_promptable.learning.labelled_image import LabelledImage

REPLAY_PATH = Path(__file__).parents[1] / "assets" / "replay.zip"
"""The sample that comes with the package."""

_INDEX = "index.json"
_QUALITY = 88  # of the images, 0 to 100


def write_replay(
    path: Path, images: Sequence[LabelledImage], licences: Sequence[Path] = ()
) -> None:
    """Pack labelled images and the texts of their licences.

    Parameters
    ----------
    path : Path
        Archive to write.
    images : sequence of LabelledImage
        With at most 65,535 objects each; nearby planes are left out.
    licences : sequence of Path
        Text files to add.

    Raises
    ------
    ImageFormatError
        If the archive cannot be written.
    """
    index = [
        {"dataset": image.dataset, "name": image.name, "is_complete": image.is_complete}
        for image in images
    ]
    with complete_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_INDEX, json.dumps(index))
        for licence in licences:
            archive.write(licence, f"licences/{licence.name}")
        for number, image in enumerate(images):
            pixels = Image.fromarray(image.image)
            labels = Image.fromarray(image.labels.astype(np.uint16))
            archive.writestr(f"{number:03}.webp", _encode(pixels, "webp", quality=_QUALITY))
            archive.writestr(f"{number:03}.png", _encode(labels, "png", optimize=True))


def read_replay(path: Path = REPLAY_PATH) -> list[LabelledImage]:
    """Unpack labelled images.

    Parameters
    ----------
    path : Path, optional
        Archive from `write_replay`; by default the one that comes with the package.

    Returns
    -------
    list of LabelledImage
        In the order in which they were packed.

    Raises
    ------
    CheckpointError
        If the archive is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(_INDEX))
            return [_read_image(archive, *entry) for entry in enumerate(index)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}). Install napari-promptable again."
        ) from error


def _read_image(
    archive: zipfile.ZipFile, number: int, about: dict[str, str | bool]
) -> LabelledImage:
    """Decode one entry."""
    image, labels = (
        Image.open(io.BytesIO(archive.read(f"{number:03}.{ending}")))
        for ending in ("webp", "png")
    )
    return LabelledImage(
        str(about["dataset"]),
        str(about["name"]),
        np.asarray(image.convert("RGB")),
        np.asarray(labels).astype(np.int32),
        is_complete=bool(about["is_complete"]),
    )


def _encode(image: Image.Image, kind: str, **options: int | bool) -> bytes:
    """Compress an image."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()
