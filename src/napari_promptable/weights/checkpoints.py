"""Weights files on this computer: finding, verifying and downloading them.

A download is verified before it gets its final name, and every file before its first use in a
process. This module imports neither torch nor, before a download, the network libraries.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import xxhash
from platformdirs import user_cache_path

from napari_promptable.errors import CancelledError, CheckpointError
from napari_promptable.progress import IsCancelled
from napari_promptable.weights.registry import MODELS, ModelSpec, get_model_spec

CACHE_VARIABLE = "NAPARI_PROMPTABLE_CACHE"
"""Environment variable that replaces the platform's cache folder."""

_ASSETS = Path(__file__).parents[1] / "assets"
_ALGORITHMS = ("sha256", "xxh128")
_CHUNK_BYTES = 1 << 17
_TIMEOUT_S = 30.0  # without a single byte
_WAIT_S = 0.2  # between attempts to get the lock
_MAX_TRIES = 10  # resumptions for each address

DownloadProgress = Callable[[int, int | None], None]
"""Called with the bytes that are here and all bytes, None where a server does not say."""


class _LinkError(Exception):
    """A download address failed."""


def checkpoint_folder() -> Path:
    """Folder of downloaded weights. Users may put files there by hand.

    Returns
    -------
    Path
        The folder ``checkpoints`` in ``$NAPARI_PROMPTABLE_CACHE``, or in the platform's cache
        folder for this package if that is not set. It may not exist yet.
    """
    return cache_root() / "checkpoints"


def cache_root() -> Path:
    """Folder of everything that this package keeps on disk. It may not exist yet."""
    root = os.environ.get(CACHE_VARIABLE)
    return Path(root).expanduser() if root else user_cache_path("napari-promptable")


def checkpoint_path(name: str) -> Path:
    """Path of a model's weights, downloaded or not.

    Parameters
    ----------
    name : str
        A name of the registry.

    Returns
    -------
    Path
        The file, which may not exist yet.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    """
    spec = get_model_spec(name)
    return (_ASSETS if spec.is_bundled else checkpoint_folder()) / spec.file_name


def is_downloaded(name: str) -> bool:
    """Whether a model's weights are on this computer. Does not check their hash.

    Parameters
    ----------
    name : str
        A name of the registry.

    Returns
    -------
    bool
        True for bundled and downloaded files, and for files put in the folder by hand.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    """
    return checkpoint_path(name).is_file()


def verify_checkpoint(path: str | Path, spec: ModelSpec | None = None) -> ModelSpec | None:
    """Check a weights file against the published hash.

    Parameters
    ----------
    path : str or Path
        A file.
    spec : ModelSpec, optional
        The expected model. By default, the model whose file has this name, or else this hash.

    Returns
    -------
    ModelSpec or None
        The file's model; None if the registry knows neither name nor hash.

    Raises
    ------
    CheckpointError
        If there is no such file, or it has another hash than the model's.

    Notes
    -----
    Hashes are cached for the life of the process, until the file's size or modification time
    changes. Bundled files have no known hash: the installer has checked them.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Check its name, or download it there.")
    if spec is None:
        spec = _find_spec(path)
    if spec is not None and spec.hash:
        found = _hash_of(path, spec.hash.partition(":")[0])
        if found != spec.hash:
            raise CheckpointError(
                f"{path} is damaged or is not the file of {spec.name!r}: its hash is {found} "
                f"instead of {spec.hash}. Delete or rename it, then download it again."
            )
    return spec


def fetch_checkpoint(
    name: str,
    progress: DownloadProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> Path:
    """Return a model's weights file, and download it if necessary.

    Parameters
    ----------
    name : str
        A name of the registry.
    progress : callable, optional
        Called as ``progress(done, total)`` in bytes during a download; `total` is None if
        unknown. `done` decreases if a download has to start over.
    is_cancelled : callable, optional
        Polled during a download, which stops when it returns True.

    Returns
    -------
    Path
        The complete file, its hash checked as by `verify_checkpoint`.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    CheckpointError
        If no address gives the file, it cannot be written, or an existing file is damaged. A
        damaged file is not replaced, because it may be the user's.
    CancelledError
        If `is_cancelled` returned True. The partial download is deleted.

    Notes
    -----
    After a lost connection, this call or a later one resumes the download if the server
    supports it. The environment sets proxies and certificates (HTTPS_PROXY, NO_PROXY,
    REQUESTS_CA_BUNDLE). If several processes need the same file, one downloads it while the
    others wait.
    """
    spec = get_model_spec(name)
    path = checkpoint_path(name)
    if not path.is_file():
        if spec.is_bundled:
            raise CheckpointError(
                f"The bundled weights {path} are missing. Install napari-promptable again."
            )
        download = _Download(spec, path, progress, is_cancelled)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with download.locked():
                if not path.is_file():  # another process may have finished it while we waited
                    download.run()
                    return path
        except CheckpointError:
            raise
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror or error}). Make room or give "
                f"yourself permission, or set {CACHE_VARIABLE} to another folder."
            ) from error
    verify_checkpoint(path, spec)
    return path


class _Download:
    """A download of one weights file.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    path : Path
        Final path; the partial file lies beside it.
    progress, is_cancelled
        As in `fetch_checkpoint`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        path: Path,
        progress: DownloadProgress | None,
        is_cancelled: IsCancelled | None,
    ) -> None:
        self.spec = spec
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.progress = progress
        self.is_cancelled = is_cancelled

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes and threads from downloading the same file."""
        import filelock

        lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
        while not lock.is_locked:
            self._check_cancelled()
            with suppress(filelock.Timeout):
                lock.acquire(timeout=_WAIT_S)
        try:
            yield
        finally:
            lock.release()

    def run(self) -> None:
        """Try each address. Rename the file when it is complete and verified."""
        failures = []
        try:
            for url in self.spec.urls:
                try:
                    self._fetch_from(url)
                except _LinkError as error:
                    failures.append(f"{url} ({error})")
                else:
                    self.part.replace(self.path)
                    return
        except (CancelledError, OSError):  # OSError: the disk is full, for instance
            with suppress(OSError):
                self.part.unlink()
            raise
        if _size_of(self.part) == 0:
            self.part.unlink(missing_ok=True)
        raise CheckpointError(self._failure_message(failures))

    def _fetch_from(self, url: str) -> None:
        """Complete the partial file from one address and verify it."""
        for _ in range(_MAX_TRIES):
            start = _size_of(self.part)
            try:
                self._append_from(url, start)
            except _LinkError:
                if _size_of(self.part) <= start:
                    raise
                continue  # the connection was lost after some progress
            found = _hash_of(self.part, self.spec.hash.partition(":")[0])
            if found == self.spec.hash:
                return
            self.part.unlink()
            if start == 0:
                raise _LinkError(f"the file there has the hash {found}")
            # Possibly pieces of two versions: start over.
        raise _LinkError(f"the connection was lost {_MAX_TRIES} times; call again to resume")

    def _append_from(self, url: str, start: int) -> None:
        """Append the missing bytes, or everything if the server cannot resume."""
        self._check_cancelled()
        with self.part.open("ab") as file, closing(_read_url(url, start)) as pieces:
            for offset, total, piece in pieces:
                self._check_cancelled()
                if offset != file.tell():
                    file.seek(offset)
                    file.truncate()
                file.write(piece)
                if self.progress is not None:
                    self.progress(file.tell(), total or self.spec.size_bytes)

    def _check_cancelled(self) -> None:
        """Raise CancelledError if the user cancelled."""
        if self.is_cancelled is not None and self.is_cancelled():
            raise CancelledError(f"The download of {self.spec.name!r} was cancelled.")

    def _failure_message(self, failures: list[str]) -> str:
        """Say what failed, and what a user without a connection can do."""
        spec = self.spec
        size = f"{spec.size_bytes} bytes, " if spec.size_bytes is not None else ""
        return (
            f"The weights of {spec.name!r} could not be downloaded from {'; '.join(failures)}. "
            "Check the connection and the settings HTTPS_PROXY and REQUESTS_CA_BUNDLE; or get "
            f"the file on another computer and save it as {spec.file_name} ({size}{spec.hash}) "
            f"in {self.path.parent}."
        )


def _read_url(url: str, start: int) -> Generator[tuple[int, int | None, bytes], None, None]:
    """Yield offset, total size and bytes of each piece of a file, from `start` on.

    A server that cannot resume starts at 0. Nothing is yielded if `start` is the file's end.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}  # compressed bytes cannot be resumed
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if start and response.status_code == requests.codes.requested_range_not_satisfiable:
                return
            if not response.ok:
                raise _LinkError(f"{response.status_code} {response.reason}")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _LinkError(
                    "the server sent a web page instead of the file; does it need a login?"
                )
            offset = start if response.status_code == requests.codes.partial_content else 0
            length = response.headers.get("Content-Length", "")
            total = offset + int(length) if length.isdecimal() else None
            for piece in response.iter_content(_CHUNK_BYTES):
                yield offset, total, piece
                offset += len(piece)
    except (OSError, ValueError) as error:  # requests' own, or about certificates and URLs
        raise _LinkError(f"{type(error).__name__}: {_root_of(error)}") from error


def _root_of(error: BaseException) -> BaseException:
    """Return the first of a chain of errors, which says most to users."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _find_spec(path: Path) -> ModelSpec | None:
    """Find a file's model by name, or else by hash."""
    for spec in MODELS.values():
        if spec.is_bundled:  # a user's own file may have the same name
            is_named = path.resolve() == checkpoint_path(spec.name).resolve()
        else:
            is_named = path.name == spec.file_name
        if is_named:
            return spec
    hashes = {_hash_of(path, algorithm) for algorithm in _ALGORITHMS}
    return next((spec for spec in MODELS.values() if spec.hash in hashes), None)


def _size_of(path: Path) -> int:
    """Size in bytes, or 0 if there is no file."""
    return path.stat().st_size if path.exists() else 0


def _hash_of(path: Path, algorithm: str) -> str:
    """Hash a file. Use the cached hash if the file has not changed."""
    try:
        stat = path.stat()
        return _compute_hash(path, algorithm, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}). Check its permissions."
        ) from error


@lru_cache(maxsize=64)
def _compute_hash(path: Path, algorithm: str, size: int, mtime_ns: int) -> str:
    """Hash a file. Size and time are part of the cache key."""
    digest = xxhash.xxh128 if algorithm == "xxh128" else algorithm  # hashlib lacks xxh128
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, digest).hexdigest()}"
