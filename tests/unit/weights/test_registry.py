import re
from urllib.parse import urlsplit

import pytest

from napari_promptable.errors import UnknownModelError
from napari_promptable.models.architectures import ARCHITECTURES
from napari_promptable.weights.registry import MODELS, ModelSpec, get_model_spec, model_names


@pytest.fixture(params=MODELS)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Each model of the registry."""
    return MODELS[request.param]


def test_each_model_is_complete(spec: ModelSpec) -> None:
    assert spec.architecture in ARCHITECTURES
    assert spec.licence
    assert spec.citation
    assert spec.description
    assert "\n" not in spec.description
    assert spec.size_bytes is None or spec.size_bytes > 0


def test_each_download_has_addresses_and_a_hash(spec: ModelSpec) -> None:
    if spec.is_bundled:
        assert (spec.urls, spec.hash) == ((), "")
    else:
        assert spec.urls
        assert {urlsplit(url).scheme for url in spec.urls} == {"https"}
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|xxh128:[0-9a-f]{32}", spec.hash)


def test_each_architecture_has_a_model() -> None:
    generations_of_tiny = {"conv_tiny", "conv_tiny_2"}  # files of either may be users' own
    architectures = {spec.architecture for spec in MODELS.values()}
    assert architectures & generations_of_tiny
    assert architectures | generations_of_tiny == set(ARCHITECTURES)


@pytest.mark.parametrize("attribute", ["name", "file_name"])
def test_names_are_distinct_even_where_case_is_ignored(attribute: str) -> None:
    names = [getattr(spec, attribute).lower() for spec in MODELS.values()]
    assert len(set(names)) == len(names)


def test_file_names_are_plain(spec: ModelSpec) -> None:
    assert re.fullmatch(r"\w+(\.\d\w*)?\.(pth|pt|safetensors)", spec.file_name)


def test_hashes_and_addresses_are_distinct() -> None:
    downloads = [spec for spec in MODELS.values() if not spec.is_bundled]
    urls = [url for spec in downloads for url in spec.urls]
    assert len({spec.hash for spec in downloads}) == len(downloads)
    assert len(set(urls)) == len(urls)


def test_model_is_found_by_name(spec: ModelSpec) -> None:
    assert get_model_spec(spec.name) is spec


def test_bundled_model_is_listed_first() -> None:
    assert model_names()[0] == "tiny"
    assert get_model_spec("tiny").is_bundled


def test_unknown_name_is_refused_with_close_and_all_names() -> None:
    with pytest.raises(UnknownModelError, match="'vit_b_ml'.*Did you mean.*'vit_b_lm'") as info:
        get_model_spec("vit_b_ml")
    for name in MODELS:
        assert name in str(info.value)


def test_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownModelError) as info:
        get_model_spec("ünet")
    assert "Did you mean" not in str(info.value)
