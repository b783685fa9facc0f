import pytest
import torch

from napari_promptable.models.layers import fold_patches
from napari_promptable.models.mask_decoder import Attention, MaskDecoder, TwoWayTransformer

WIDTH, ROWS, COLUMNS = 32, 6, 9


@pytest.fixture(params=[0, 2], ids=["sam", "bundled"])
def mask_decoder(request: pytest.FixtureRequest) -> MaskDecoder:
    """A narrow decoder, without and with fusion blocks."""
    return make_decoder(fusion_depth=request.param)


def make_decoder(**options) -> MaskDecoder:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=2, embed_dim=WIDTH, num_heads=4, mlp_dim=64)
    decoder = MaskDecoder(WIDTH, transformer, WIDTH, **options)
    return decoder.eval().requires_grad_(False)


def make_inputs(num_prompts: int = 3, num_tokens: int = 4) -> dict[str, torch.Tensor]:
    return {
        "image_embedding": torch.randn(1, WIDTH, ROWS, COLUMNS),
        "image_pe": torch.randn(1, WIDTH, ROWS, COLUMNS),
        "sparse": torch.randn(num_prompts, num_tokens, WIDTH),
        "dense": torch.randn(num_prompts, WIDTH, ROWS, COLUMNS),
    }


def test_there_are_four_masks_and_ious_per_prompt(mask_decoder: MaskDecoder) -> None:
    low_res_logits, predicted_iou = mask_decoder(**make_inputs())
    assert low_res_logits.shape == (3, 4, 4 * ROWS, 4 * COLUMNS)
    assert predicted_iou.shape == (3, 4)
    assert len({tuple(mask.flatten().tolist()) for mask in low_res_logits[0]}) == 4


def test_a_batch_equals_its_prompts_one_by_one(mask_decoder: MaskDecoder) -> None:
    inputs = make_inputs()
    low_res_logits, predicted_iou = mask_decoder(**inputs)
    for i in range(3):
        one = slice(i, i + 1)
        alone = mask_decoder(
            inputs["image_embedding"],
            inputs["image_pe"],
            inputs["sparse"][one],
            inputs["dense"][one],
        )
        expected = (low_res_logits[one], predicted_iou[one])
        torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_one_embedding_serves_all_prompts(mask_decoder: MaskDecoder) -> None:
    inputs = make_inputs()
    expected = mask_decoder(**inputs)
    inputs["image_embedding"] = inputs["image_embedding"].expand(3, -1, -1, -1)
    torch.testing.assert_close(mask_decoder(**inputs), expected, rtol=1e-4, atol=1e-5)


def test_each_prompt_may_have_its_own_embedding(mask_decoder: MaskDecoder) -> None:
    inputs = make_inputs()
    inputs["image_embedding"] = torch.randn(3, WIDTH, ROWS, COLUMNS)
    low_res_logits, _ = mask_decoder(**inputs)
    last, _ = mask_decoder(
        inputs["image_embedding"][2:],
        inputs["image_pe"],
        inputs["sparse"][2:],
        inputs["dense"][2:],
    )
    torch.testing.assert_close(last, low_res_logits[2:], rtol=1e-4, atol=1e-5)


def test_the_order_of_prompt_tokens_does_not_matter(mask_decoder: MaskDecoder) -> None:
    inputs = make_inputs()
    expected = mask_decoder(**inputs)
    inputs["sparse"] = inputs["sparse"][:, [2, 0, 3, 1]]
    torch.testing.assert_close(mask_decoder(**inputs), expected, rtol=1e-4, atol=1e-5)


def test_prompt_tokens_matter(mask_decoder: MaskDecoder) -> None:
    inputs = make_inputs()
    expected, _ = mask_decoder(**inputs)
    inputs["sparse"] = inputs["sparse"] + 1
    found, _ = mask_decoder(**inputs)
    assert not torch.allclose(found, expected, rtol=1e-2, atol=1e-3)


def test_a_detail_changes_the_masks_where_it_is() -> None:
    decoder, inputs = make_decoder(with_details=True), make_inputs()
    details = torch.zeros(1, WIDTH // 4, 2 * ROWS, 2 * COLUMNS)

    def predict() -> tuple[torch.Tensor, torch.Tensor]:
        both = [inputs["image_embedding"], fold_patches(details)]
        return decoder(**{**inputs, "image_embedding": torch.cat(both, dim=1)})

    before, iou_before = predict()
    details[0, 3, 7, 2] = 1.0
    after, iou_after = predict()
    rows, columns = (
        torch.unique(axis).tolist() for axis in (before != after).nonzero()[:, 2:].T
    )
    assert (rows, columns) == ([14, 15], [4, 5])
    assert torch.equal(iou_before, iou_after)


def test_attention_to_equal_values_returns_them() -> None:
    attention = Attention(8, num_heads=2, downsample_rate=2)
    value = torch.randn(1, 1, 8)
    attended = attention(torch.randn(1, 3, 8), torch.randn(1, 5, 8), value.expand(1, 5, 8))
    expected = attention.out_proj(attention.v_proj(value)).expand(1, 3, 8)
    torch.testing.assert_close(attended, expected)
