import torch

from napari_promptable.models.architectures import build_sam
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.instance_head import InstanceHead


def test_maps_have_half_of_the_inputs_resolution() -> None:
    head = InstanceHead(embed_dim=16)
    embedding = torch.randn(2, 20, 24, 30)  # four channels more than the head looks at
    maps = head(embedding)
    assert maps.shape == (2, 4, 96, 120)
    embedding[:, 16:] = 0
    assert torch.equal(head(embedding), maps)


def test_the_head_is_small() -> None:
    assert sum(parameter.numel() for parameter in InstanceHead(128).parameters()) < 60_000


@torch.inference_mode()
def test_a_prepared_head_gives_the_same() -> None:
    torch.manual_seed(0)
    sam = build_sam("conv_tiny_2").eval().requires_grad_(False)
    assert sam.instance_head is not None
    embedding = torch.randn(1, 256, 16, 16)
    expected = sam.instance_head(embedding)
    prepared = prepare_for_inference(sam)
    assert prepared.instance_head is not None
    torch.testing.assert_close(
        prepared.instance_head(embedding), expected, atol=1e-4, rtol=1e-4
    )
