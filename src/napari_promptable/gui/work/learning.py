"""A learning process: its start, its reports, its end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from napari_promptable.errors import LearningError, PromptableError
from napari_promptable.learning.process import WEIGHTS_NAME, refuse_to_begin, write_job

_MODULE = "napari_promptable.learning.process"
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_END_MS = 2000

Example = tuple[npt.NDArray[np.generic], npt.NDArray[np.integer[Any]]]


class Learning(QObject):
    """Runs `learn` in a process of its own, so that clicks stay fast and a crash is harmless.

    Attributes
    ----------
    settings : dict
        Keywords of `LearningSettings`.
    """

    progressed = Signal(dict)  # a LearningState as plain data
    finished = Signal(dict)  # name, is_better, before, after
    failed = Signal(object)  # PromptableError

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self._process: QProcess | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._rest = ""
        self._last: dict[str, Any] = {}

    @property
    def is_running(self) -> bool:
        """Whether a process is running."""
        return self._process is not None

    @property
    def weights_path(self) -> Path:
        """File of the learned weights, until the next start or `forget`."""
        assert self._folder is not None
        return Path(self._folder.name) / WEIGHTS_NAME

    def start(self, model: str, examples: Sequence[Example], source: str) -> None:
        """Cancel a running process, then start learning.

        Raises
        ------
        CacheError
            If there is no room for the images on disk.
        """
        self.forget()
        try:
            self._folder = TemporaryDirectory(
                prefix="napari-promptable-", ignore_cleanup_errors=True
            )
        except OSError as error:
            raise refuse_to_begin("the folder for temporary files", error) from error
        write_job(Path(self._folder.name), model, examples, self.settings, source)
        process = self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        for name in _ONE_THREAD:
            environment.insert(name, "1")
        environment.insert("PYTHONPATH", _path_of_this_package(environment.value("PYTHONPATH")))
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finish)
        process.errorOccurred.connect(self._note_error)
        process.start(sys.executable, ["-m", _MODULE, self._folder.name])

    def cancel(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.kill()
            process.waitForFinished(_END_MS)
            process.deleteLater()

    def forget(self) -> None:
        """Cancel, and delete the learned weights unless they were moved."""
        self.cancel()
        self._rest, self._last = "", {}
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _read(self) -> None:
        """Read the lines that have arrived."""
        if self._process is None:
            return
        arrived = bytes(self._process.readAllStandardOutput()).decode("utf-8", "replace")
        *lines, self._rest = (self._rest + arrived).split("\n")
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        try:
            report = json.loads(line)
        except ValueError:  # a warning that some library printed
            return
        if "state" in report:
            self.progressed.emit(report["state"])
        else:
            self._last = report

    def _finish(self, *_: object) -> None:
        """Report the result, or why there is none."""
        process = self._process
        if process is None:
            return
        self._read()
        self._process = None
        process.deleteLater()
        if "result" in self._last:
            self.finished.emit(self._last["result"])
        elif "error" in self._last:
            self.failed.emit(LearningError(self._last["error"]))
        else:
            self.failed.emit(
                _crash(bytes(process.readAllStandardError()).decode(errors="replace"))
            )

    def _note_error(self, error: QProcess.ProcessError) -> None:
        """Report a process that did not start. Others end with `finished`."""
        if error == QProcess.ProcessError.FailedToStart:
            self._process = None
            self.failed.emit(_crash(f"{sys.executable} did not start"))


def _crash(said: str) -> PromptableError:
    """Describe a process that ended without a result, by its last words."""
    words = said.strip().splitlines() or ["it was ended from outside"]
    return LearningError(
        f"learning stopped without a result ({words[-1]}); objects and labels are as they were"
    )


def _path_of_this_package(former: str) -> str:
    """Search path on which the process finds this very package."""
    ours = str(Path(__file__).parents[3])
    return f"{ours}{os.pathsep}{former}" if former else ours
