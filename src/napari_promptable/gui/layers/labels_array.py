"""Arrays for new labels: in memory, or on disk where they would fill it."""

from __future__ import annotations

import os
import shutil
import weakref
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from napari.layers import Image

from napari_promptable.errors import LabelError
from napari_promptable.planes import PlaneAxes
from napari_promptable.weights.checkpoints import cache_root

LIMIT_VARIABLE = "NAPARI_PROMPTABLE_LABELS_MB"
"""Environment variable for the size, in megabytes, above which new labels are kept on disk."""

_DEFAULT_LIMIT_MB = 512
_DTYPE = np.dtype(np.uint16)
_CHUNK = 1024  # rows and columns
_MAX_SHOWN_SIDE = 8192  # of a plane that napari and graphics cards show as a whole
_LEAST_SIDE = 2048  # of the lowest resolution, at most


def make_labels_array(planes: PlaneAxes) -> Any:
    """Make an array of zeros for the objects of an image.

    Parameters
    ----------
    planes : PlaneAxes
        The image's planes.

    Returns
    -------
    ndarray or zarr.Array of uint16, shape ``planes.shape``
        A zarr array lies in the package's cache folder, in compressed chunks of one plane each,
        and only chunks with labels take space. Its folder is removed with the array: the
        session on disk holds what survives a crash.

    Raises
    ------
    LabelError
        If the folder cannot be written.
    """
    if prod(planes.shape) * _DTYPE.itemsize <= _limit_bytes():
        return np.zeros(planes.shape, _DTYPE)
    return _make_on_disk(planes)


def make_labels_data(image: Image, planes: PlaneAxes) -> Any:
    """Make what a labels layer on an image shows: an array, or several for a large pyramid."""
    if needs_pyramid(image, planes):
        return make_label_levels(planes)
    return make_labels_array(planes)


def needs_pyramid(image: Image, planes: PlaneAxes) -> bool:
    """Whether labels are shown at several resolutions: planes of a pyramid that are large."""
    return bool(image.multiscale) and max(planes.plane_shape) > _MAX_SHOWN_SIDE


def pyramid_steps(planes: PlaneAxes) -> tuple[int, ...]:
    """Steps of the resolutions of large planes, 1 first."""
    steps = [1]
    while max(planes.plane_shape) / steps[-1] > _LEAST_SIDE:
        steps.append(2 * steps[-1])
    return tuple(steps)


def make_label_levels(planes: PlaneAxes) -> list[Any]:
    """Make arrays of zeros on disk for a pyramid, the full resolution first.

    Parameters
    ----------
    planes : PlaneAxes
        The image's planes at full resolution.

    Returns
    -------
    list of zarr.Array of uint16
        See `make_labels_array`.

    Raises
    ------
    LabelError
        If the folder cannot be written.
    """
    levels = []
    for step in pyramid_steps(planes):
        shape = [-(-n // step) if i in planes.axes else n for i, n in enumerate(planes.shape)]
        levels.append(_make_on_disk(PlaneAxes(tuple(shape), planes.axes)))
    return levels


def _make_on_disk(planes: PlaneAxes) -> Any:
    """Make an array that is removed with its last reference."""
    import zarr

    root = cache_root() / "labels"
    chunks = [1] * len(planes.shape)
    for axis in planes.axes:
        chunks[axis] = min(_CHUNK, planes.shape[axis])
    path = root / f"{uuid4().hex[:12]}.zarr"
    lock = FileLock(_lock_path(path))
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        lock.acquire()
        array = zarr.create_array(
            path, shape=planes.shape, chunks=tuple(chunks), dtype=_DTYPE, fill_value=0
        )
    except OSError as error:
        raise LabelError(
            f"labels of this size are kept in {root}, which cannot be written ({error}); free "
            "some space there"
        ) from error
    weakref.finalize(array, _remove, path, lock)
    return array


def _limit_bytes() -> float:
    """Size of labels that are held in memory."""
    try:
        return float(os.environ.get(LIMIT_VARIABLE, _DEFAULT_LIMIT_MB)) * 1e6
    except ValueError as error:
        raise LabelError(
            f"{LIMIT_VARIABLE}={os.environ[LIMIT_VARIABLE]} was given; it must be a number of "
            "megabytes"
        ) from error


def _lock_path(path: Path) -> Path:
    """File that is locked for as long as a process uses an array."""
    return path.with_suffix(".lock")


def _remove_leftovers(root: Path) -> None:
    """Remove the arrays of processes that crashed, on this computer or another one."""
    for path in root.glob("*.zarr"):
        lock = FileLock(_lock_path(path))
        with suppress(Timeout):
            lock.acquire(timeout=0)
            _remove(path, lock)


def _remove(path: Path, lock: FileLock) -> None:
    """Remove an array and its lock."""
    shutil.rmtree(path, ignore_errors=True)
    lock.release()
    _lock_path(path).unlink(missing_ok=True)
