"""Tables of measurements as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_promptable.errors import ImageFormatError, MissingPackageError
from napari_promptable.files.writing import complete_file

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".parquet")


def check_table_path(path: Path) -> None:
    """Raise ImageFormatError unless the path ends in .csv or .parquet."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ImageFormatError(
            f"{path.name} does not end in {' or '.join(TABLE_SUFFIXES)}, so the format of the "
            "table is unknown"
        )


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV or Parquet, by the path's ending.

    Parameters
    ----------
    path : Path
        Ends in .csv or .parquet; an existing file is replaced when the new one is complete.
    table : pandas.DataFrame
        Rows and columns; the index is not written.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImageFormatError
        If the ending is unknown or the file cannot be written.
    MissingPackageError
        If the package that writes Parquet is not installed.
    """
    check_table_path(path)
    with complete_file(path, ImageFormatError) as temporary:
        if path.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False)
        else:
            _write_parquet(temporary, table)
    return path


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    try:
        table.to_parquet(path, index=False)
    except ImportError as error:
        raise MissingPackageError(
            "Parquet needs the package 'pyarrow': pip install 'napari-promptable[export]'; "
            "or write a .csv"
        ) from error
