import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from napari_promptable.models.cpu.parallel import one_thread, share_out


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

    def task(item: int) -> None:
        time.sleep(0.01)  # so that others have a chance
        here = threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()
        seen.append((item, *here))

    with threads(count), torch.inference_mode():
        share_out(task, range(20))
        assert torch.get_num_threads() == count
    assert sorted(item for item, *_ in seen) == list(range(20))
    assert min(count, 2) <= len({thread for _, thread, *_ in seen}) <= count
    assert {(num, is_inference) for *_, num, is_inference in seen} == {(1, True)}


@pytest.mark.parametrize("fails_in_caller", [True, False])
def test_an_error_stops_all_threads(fails_in_caller: bool) -> None:
    caller, done = threading.get_ident(), []

    def task(item: int) -> None:
        time.sleep(0.01)
        if (threading.get_ident() == caller) == fails_in_caller:
            raise ValueError("stop")
        done.append(item)

    with threads(2), pytest.raises(ValueError, match="stop"):
        share_out(task, range(1000))
    assert len(done) < 1000


def test_threads_that_begin_later_have_as_many_as_the_caller() -> None:
    found: list[int] = []
    with threads(3):
        share_out(lambda _: time.sleep(0.01), range(4))
        late = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        late.start()
        late.join()
    assert found == [3]
