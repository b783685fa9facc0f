import pytest
import torch

from napari_promptable.models.threads import one_thread


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_threads_as_before_come_back(count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == count
        with pytest.raises(ValueError, match="stop"), one_thread():
            raise ValueError("stop")
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
