import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from napari_promptable.models.cpu.parallel import (
    let_waiting_threads_sleep,
    one_thread,
    share_out,
)

PATIENCE_S = 30.0  # so that a failing test cannot hang


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_threads_as_before_come_back(count: int) -> None:
    with threads(count):
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == count
        with pytest.raises(ValueError, match="stop"), one_thread():
            raise ValueError("stop")
        assert torch.get_num_threads() == count


@pytest.mark.parametrize("count", [1, 2, 5])
def test_items_are_shared_out_among_threads_of_one(count: int) -> None:
    seen: list[tuple[int, int, int, bool]] = []
    first_items = threading.Barrier(min(count, 2))  # so that another thread takes part

    def task(item: int) -> None:
        if item < first_items.parties:
            first_items.wait(PATIENCE_S)
        here = threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()
        seen.append((item, *here))

    with threads(count), torch.inference_mode():
        share_out(task, range(20))
        assert torch.get_num_threads() == count
    assert sorted(item for item, *_ in seen) == list(range(20))
    assert min(count, 2) <= len({thread for _, thread, *_ in seen}) <= count
    assert {(num, is_inference) for *_, num, is_inference in seen} == {(1, True)}


class Item:
    """Something whose end can be observed."""


@pytest.mark.parametrize("fails_in_caller", [True, False])
def test_an_error_stops_all_threads(fails_in_caller: bool) -> None:
    caller, begun = threading.get_ident(), []
    both_work, last_is_given_up = threading.Barrier(2), threading.Event()
    items = [Item(), Item(), Item()]
    weakref.finalize(items[-1], last_is_given_up.set)
    items.reverse()

    def task(item: Item) -> None:
        begun.append(threading.get_ident())
        both_work.wait(PATIENCE_S)
        if (threading.get_ident() == caller) == fails_in_caller:
            raise ValueError("stop")
        assert last_is_given_up.wait(PATIENCE_S)

    with threads(2), pytest.raises(ValueError, match="stop"):
        share_out(task, (items.pop() for _ in range(3)))
    assert len(begun) == 2


def test_threads_that_begin_later_have_as_many_as_the_caller() -> None:
    found: list[int] = []
    with threads(3):
        share_out(lambda _: None, range(4))
        late = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        late.start()
        late.join()
    assert found == [3]


def test_waiting_threads_sleep_without_a_change_of_the_environment() -> None:
    environment = dict(os.environ)
    with threads(3):
        let_waiting_threads_sleep.cache_clear()
        let_waiting_threads_sleep()
        late: list[int] = []
        thread = threading.Thread(target=lambda: late.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 3
    assert late == [3]
    assert dict(os.environ) == environment
