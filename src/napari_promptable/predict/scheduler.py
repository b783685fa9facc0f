"""Work on the processes of a dask.distributed scheduler: connect, share out, name errors.

Functions that run on workers open files themselves, on a disk that all computers see. Doing one
task twice does no harm, so the tasks of lost workers are repeated.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from napari_promptable.errors import ClusterError, PromptableError

NO_WORKERS = "the scheduler has no workers; start some with the command dask worker ADDRESS"
RETRIES = 3
"""Of a task that failed."""

LOCAL = "local"
"""In place of an address: start processes on this computer."""

_CONNECT_S = 5  # to wait for an answer of a scheduler
_WORKER_S = 30  # to wait for the first worker
_MAX_LOCAL_WORKERS = 4  # each holds a model


class Workers:
    """The workers of a scheduler, from `connect`.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self._client.scheduler.address)

    def map(
        self,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        in_order: bool = False,
        **shared: Any,
    ) -> Iterator[Any]:
        """Call a function for each item on the workers.

        Parameters
        ----------
        function : callable
            Importable by the workers; doing it twice does no harm.
        items : iterable
            Its first argument.
        in_order : bool, default False
            Yield results in the order of the items; otherwise, as they are completed.
        **shared
            Its other arguments.

        Yields
        ------
        object
            What the function returned.

        Raises
        ------
        ClusterError
            If scheduler or workers are lost, or several were lost with the same item.
        PromptableError
            As the function raises it.
        """
        import distributed

        with errors_named():
            futures = self._client.map(
                function, list(items), **shared, pure=False, retries=RETRIES
            )
            done = (
                futures
                if in_order
                else distributed.as_completed(futures, loop=self._client.loop)
            )
            for future in done:
                yield future.result()
                future.release()


@contextmanager
def connect(address: str | None, num_workers: int | None = None) -> Iterator[Any]:
    """Connect to a scheduler that has at least one worker.

    Parameters
    ----------
    address : str or None
        Such as "tcp://192.168.0.7:8786". None or "local" starts processes on this computer,
        which end with the context.
    num_workers : int, optional
        Processes to start; as many as cores by default, at most 4.

    Yields
    ------
    distributed.Client
        Connected.

    Raises
    ------
    ClusterError
        If dask.distributed is not installed, there is no scheduler at the address, or it has
        no workers.
    """
    distributed = _import_distributed()
    with ExitStack() as exits:
        is_local = address in (None, LOCAL)
        target = exits.enter_context(_start_workers(num_workers)) if is_local else address
        try:
            client = exits.enter_context(
                distributed.Client(target, timeout=_CONNECT_S, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"there is no scheduler at {address} ({error}); start one with the command "
                "dask scheduler, and give the address that it prints"
            ) from error
        try:
            client.wait_for_workers(1, timeout=_WORKER_S)
        except TimeoutError as error:
            raise ClusterError(NO_WORKERS) from error
        yield client


@contextmanager
def errors_named() -> Iterator[None]:
    """Raise ClusterError for what comes from the cluster rather than from the work."""
    import distributed

    try:
        yield
    except PromptableError:
        raise
    except distributed.KilledWorker as error:
        raise ClusterError(
            f"several workers were lost with the same task ({error}); give workers more "
            "memory, or choose a smaller model"
        ) from error
    except (OSError, concurrent.futures.CancelledError) as error:
        raise ClusterError(
            f"the connection to the scheduler was lost ({error}); start the scheduler and run "
            "this again"
        ) from error
    except (ImportError, RuntimeError) as error:
        raise ClusterError(
            f"a worker failed ({error}); install the same versions of napari-promptable and "
            "distributed on all computers, and look at the worker's log"
        ) from error


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            "dask.distributed is not installed; run pip install "
            '"napari-promptable[distributed]"'
        ) from error
    return distributed


def _start_workers(num_workers: int | None) -> Any:
    """Start processes on this computer. A context manager ends them."""
    return _import_distributed().LocalCluster(
        n_workers=num_workers or min(os.cpu_count() or 1, _MAX_LOCAL_WORKERS),
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address=":0",
    )
