"""The metadata of a weights file, read without torch and safetensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_MOST_BYTES = 2**24  # of a header; more is no safetensors file


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata of a .safetensors file.

    Parameters
    ----------
    path : str or Path
        Any file.

    Returns
    -------
    dict of str to str
        Empty if there are none, or the file is of another kind or cannot be read.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= _MOST_BYTES else {}
    except (OSError, ValueError, struct.error):
        return {}
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return dict(metadata)
