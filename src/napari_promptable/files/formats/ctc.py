"""The folder layout of the Cell Tracking Challenge: label frames and a table of tracks.

Source: "Naming and file content conventions", celltrackingchallenge.net. Results are frames
`maskTTT.tif` with 16 bits and `res_track.txt`, with a line "L B E P" for each track: label,
first and last frame, parent (0 for none). A reference, `01_GT`, holds the same in its folder
`TRA`, as `man_trackTTT.tif` and `man_track.txt`. A track has no gaps there: an object that is
missing for a while becomes several tracks, each the parent of the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.labelled_objects import LabelledObjects
from napari_promptable.files.formats.tracks import find_detections, require_time
from napari_promptable.files.writing import complete_folder
from napari_promptable.planes import to_ranges

_RESULT, _REFERENCE = ("mask", "res_track.txt"), ("man_track", "man_track.txt")
"""Beginning of the frames' names, and the table of tracks."""

_REFERENCE_SUFFIX, _REFERENCE_FOLDER = "_gt", "TRA"
_MAX_ID = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class _Track:
    """One line of the table. `object_id` is the label in our own image."""

    label: int
    first: int
    last: int
    parent: int
    object_id: int


def write_ctc(path: Path, objects: LabelledObjects) -> None:
    """Write a folder of label frames with a table of tracks.

    Parameters
    ----------
    path : Path
        Folder to make; a reference if its name ends in "_GT", or else a result.
    objects : LabelledObjects
        Labels of a time series, TYX or TZYX.

    Raises
    ------
    ImageFormatError
        If this is no time series, or has more than 65,535 tracks.
    """
    import tifffile

    require_time(objects, "CTC")
    tracks = list(_find_tracks(objects))
    if tracks and max(track.label for track in tracks) > _MAX_ID:
        raise ImageFormatError(
            f"CTC frames have 16 bits and hold ids up to {_MAX_ID}, and these labels need "
            f"{max(track.label for track in tracks)}; export to GEFF or TIFF"
        )
    digits = max(3, len(str(objects.labels.shape[0] - 1)))
    is_reference = path.name.lower().endswith(_REFERENCE_SUFFIX)
    frames, table = _REFERENCE if is_reference else _RESULT
    with complete_folder(path, ImageFormatError) as made:
        folder = made / _REFERENCE_FOLDER if is_reference else made
        folder.mkdir(exist_ok=True)
        for time in range(objects.labels.shape[0]):
            frame = _relabel(np.asarray(objects.labels[time]), time, tracks)
            tifffile.imwrite(
                folder / f"{frames}{time:0{digits}}.tif", frame, compression="zlib"
            )
        lines = (f"{t.label} {t.first} {t.last} {t.parent}\n" for t in tracks)
        (folder / table).write_text("".join(lines), encoding="ascii")


def _find_tracks(objects: LabelledObjects) -> Iterator[_Track]:
    """Yield tracks without gaps. The first part of an object keeps its id as label."""
    times: dict[int, list[int]] = {}
    for detection in find_detections(objects):
        times.setdefault(detection.object_id, []).append(detection.time)
    free_labels = count(1 + max(times, default=0))
    for object_id, present in sorted(times.items()):
        parent = 0
        for first, last in to_ranges(present):
            label = next(free_labels) if parent else object_id
            yield _Track(label, first, last, parent, object_id)
            parent = label


def _relabel(
    frame: npt.NDArray[np.integer[Any]], time: int, tracks: list[_Track]
) -> npt.NDArray[np.uint16]:
    ids, numbered = np.unique(frame, return_inverse=True)
    label_of = {t.object_id: t.label for t in tracks if t.first <= time <= t.last}
    values = np.array([label_of.get(int(i), 0) for i in ids], np.uint16)
    return values[numbered].reshape(frame.shape)


def read_ctc(path: Path) -> LabelledObjects:
    """Read the frames of a folder. Tracks that are the only child of their parent join it.

    Parameters
    ----------
    path : Path
        Folder of a result or a reference, with or without a table of tracks.

    Returns
    -------
    LabelledObjects
        Axes TYX or TZYX.

    Raises
    ------
    ImageFormatError
        If there are no frames, or the table cannot be read.
    """
    import tifffile

    nested = path / _REFERENCE_FOLDER
    path = nested if nested.is_dir() else path
    files = sorted(path.glob("mask*.tif")) or sorted(path.glob("man_track*.tif"))
    if not files:
        raise ImageFormatError(
            f"{path} has no frames mask000.tif, mask001.tif, … as CTC names them"
        )
    labels = np.stack([tifffile.imread(file) for file in files]).astype(np.uint32)
    tables = [path / name for _, name in (_RESULT, _REFERENCE) if (path / name).exists()]
    for table in tables[:1]:
        for label, whole in _joined(table).items():
            labels[labels == label] = whole
    return LabelledObjects(labels, "TYX" if labels.ndim == 3 else "TZYX")


def _joined(table: Path) -> dict[int, int]:
    """Map labels of continued tracks to the label of their first part."""
    try:
        rows = np.loadtxt(table, dtype=np.int64, ndmin=2)
        parents: dict[int, int] = dict(rows[:, [0, 3]].tolist())
    except (ValueError, IndexError) as error:
        raise ImageFormatError(
            f"{table} is not a table of four whole numbers a line (L B E P): {error}"
        ) from error
    children = list(parents.values())
    joined: dict[int, int] = {}
    for label, parent in sorted(parents.items()):
        if parent and children.count(parent) == 1:
            joined[label] = joined.get(parent, parent)
    return joined
