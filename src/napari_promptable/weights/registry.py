"""The registry of models: names, sources, hashes and licences of their weights."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from napari_promptable.errors import UnknownModelError


@dataclass(frozen=True)
class ModelSpec:
    """Registry entry of one model.

    Attributes
    ----------
    name : str
        What users type.
    architecture : str
        Network architecture, one of `napari_promptable.models.architectures.ARCHITECTURES`.
    urls : tuple of str
        Download addresses in the order to try; empty if the file is bundled.
    file_name : str
        Name of the local file, unique to the model.
    size_bytes : int or None
        Size of the file; None if the publisher does not state it.
    hash : str
        "sha256:…" or "xxh128:…" in lower-case hex digits; empty if the file is bundled, because
        the installer has checked it.
    licence : str
        Licence of the weights.
    citation : str
        Publication to cite.
    description : str
        What the model is good for, in one sentence.
    is_bundled : bool
        Whether the weights come with this package.
    subject : str
        The kind of images it is made for, in a few words.
    """

    name: str
    architecture: str
    urls: tuple[str, ...]
    file_name: str
    size_bytes: int | None
    hash: str
    licence: str
    citation: str
    description: str
    is_bundled: bool = False
    subject: str = ""


_META = "https://dl.fbaipublicfiles.com/segment_anything"
_META_2_1 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
_BIOIMAGE_IO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_GWDG = "https://owncloud.gwdg.de/index.php/s"

_SAM = "Kirillov et al., Segment Anything, ICCV 2023, arXiv:2304.02643"
_SAM_2 = "Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv:2408.00714"
_MOBILE_SAM = "Zhang et al., Faster Segment Anything (MobileSAM), 2023, arXiv:2306.14289"
_MICRO_SAM = (
    "Archit et al., Segment Anything for Microscopy, Nature Methods 2025, "
    "doi:10.1038/s41592-024-02580-4"
)
_PATHO_SAM = "Griebel et al., Segment Anything for Histopathology, MIDL 2025, arXiv:2502.00408"
_MEDICO_SAM = (
    "Archit et al., MedicoSAM: Robust Improvement of SAM for Medical Imaging, 2025, "
    "arXiv:2501.11734"
)

_SPECS = (
    ModelSpec(
        name="tiny",
        subject="Any image",
        architecture="conv_tiny_2",
        urls=(),
        file_name="tiny.safetensors",
        size_bytes=None,
        hash="",
        licence="BSD-3-Clause",
        citation="napari-promptable",
        description="Comes with the package: quick on any computer, for a first try",
        is_bundled=True,
    ),
    ModelSpec(
        name="vit_t",
        subject="Everyday images",
        architecture="vit_t",
        urls=(
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            f"{_GWDG}/TuDzuwVDHd1ZDnQ/download",
        ),
        file_name="mobile_sam.pt",
        size_bytes=40_728_226,
        hash="sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        licence="Apache-2.0",
        citation=_MOBILE_SAM,
        description="MobileSAM, for everyday images: quick without a GPU, edges less exact",
    ),
    ModelSpec(
        name="vit_b",
        subject="Everyday images",
        architecture="vit_b",
        urls=(f"{_META}/sam_vit_b_01ec64.pth",),
        file_name="sam_vit_b_01ec64.pth",
        size_bytes=375_042_383,
        hash="sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        licence="Apache-2.0",
        citation=_SAM,
        description="SAM, for everyday images: the smallest of the three originals",
    ),
    ModelSpec(
        name="vit_l",
        subject="Everyday images",
        architecture="vit_l",
        urls=(f"{_META}/sam_vit_l_0b3195.pth",),
        file_name="sam_vit_l_0b3195.pth",
        size_bytes=1_249_524_607,
        hash="sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        licence="Apache-2.0",
        citation=_SAM,
        description="SAM, for everyday images: better than vit_b, a GPU is advisable",
    ),
    ModelSpec(
        name="vit_h",
        subject="Everyday images",
        architecture="vit_h",
        urls=(f"{_META}/sam_vit_h_4b8939.pth",),
        file_name="sam_vit_h_4b8939.pth",
        size_bytes=2_564_550_879,
        hash="sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        licence="Apache-2.0",
        citation=_SAM,
        description="SAM, for everyday images: the largest, seldom better than vit_l",
    ),
    ModelSpec(
        name="sam2.1_hiera_tiny",
        subject="Everyday images",
        architecture="hiera_tiny",
        urls=(f"{_META_2_1}/sam2.1_hiera_tiny.pt",),
        file_name="sam2.1_hiera_tiny.pt",
        size_bytes=156_008_466,
        hash="sha256:7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        licence="Apache-2.0",
        citation=_SAM_2,
        description="SAM 2.1, for everyday images and stacks: the smallest of four",
    ),
    ModelSpec(
        name="sam2.1_hiera_small",
        subject="Everyday images",
        architecture="hiera_small",
        urls=(f"{_META_2_1}/sam2.1_hiera_small.pt",),
        file_name="sam2.1_hiera_small.pt",
        size_bytes=184_416_285,
        hash="sha256:6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        licence="Apache-2.0",
        citation=_SAM_2,
        description="SAM 2.1, for everyday images and stacks: slightly larger than tiny",
    ),
    ModelSpec(
        name="sam2.1_hiera_base_plus",
        subject="Everyday images",
        architecture="hiera_base_plus",
        urls=(f"{_META_2_1}/sam2.1_hiera_base_plus.pt",),
        file_name="sam2.1_hiera_base_plus.pt",
        size_bytes=323_606_802,
        hash="sha256:a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        licence="Apache-2.0",
        citation=_SAM_2,
        description="SAM 2.1, for everyday images and stacks: between small and large",
    ),
    ModelSpec(
        name="sam2.1_hiera_large",
        subject="Everyday images",
        architecture="hiera_large",
        urls=(f"{_META_2_1}/sam2.1_hiera_large.pt",),
        file_name="sam2.1_hiera_large.pt",
        size_bytes=898_083_611,
        hash="sha256:2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        licence="Apache-2.0",
        citation=_SAM_2,
        description="SAM 2.1, for everyday images and stacks: best, a GPU is advisable",
    ),
    ModelSpec(
        name="vit_t_lm",
        subject="Light microscopy",
        architecture="vit_t",
        urls=(f"{_BIOIMAGE_IO}/faithful-chicken/1.1/files/vit_t.pt",),
        file_name="vit_t_lm.pt",
        size_bytes=None,
        hash="xxh128:72ec5074774761a6e5c05a08942f981e",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for cells and nuclei in light microscopy: quick without a GPU",
    ),
    ModelSpec(
        name="vit_b_lm",
        subject="Light microscopy",
        architecture="vit_b",
        urls=(f"{_BIOIMAGE_IO}/diplomatic-bug/1.2/files/vit_b.pt",),
        file_name="vit_b_lm.pt",
        size_bytes=None,
        hash="xxh128:fe9252a29f3f4ea53c15a06de471e186",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for cells and nuclei in light microscopy: the usual choice",
    ),
    ModelSpec(
        name="vit_l_lm",
        subject="Light microscopy",
        architecture="vit_l",
        urls=(f"{_BIOIMAGE_IO}/idealistic-rat/1.2/files/vit_l.pt",),
        file_name="vit_l_lm.pt",
        size_bytes=None,
        hash="xxh128:017f20677997d628426dec80a8018f9d",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for cells and nuclei in light microscopy: a GPU is advisable",
    ),
    ModelSpec(
        name="hvit_t_cells",
        subject="Cells and nuclei",
        architecture="hiera_tiny",
        urls=(f"{_GWDG}/PJRPRXC3BNOLJ6X/download",),
        file_name="hvit_t_cells.pt",
        size_bytes=None,
        hash="xxh128:385a8521cbadad2536b2e7950c394f80",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, SAM 2.1 for cells and nuclei in images and stacks",
    ),
    ModelSpec(
        name="vit_t_em_organelles",
        subject="Electron microscopy",
        architecture="vit_t",
        urls=(f"{_BIOIMAGE_IO}/greedy-whale/1/files/vit_t.pt",),
        file_name="vit_t_em_organelles.pt",
        size_bytes=None,
        hash="xxh128:253474720c497cce605e57c9b1d18fd9",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for organelles in electron microscopy: quick without a GPU",
    ),
    ModelSpec(
        name="vit_b_em_organelles",
        subject="Electron microscopy",
        architecture="vit_b",
        urls=(f"{_BIOIMAGE_IO}/noisy-ox/1.2/files/vit_b.pt",),
        file_name="vit_b_em_organelles.pt",
        size_bytes=None,
        hash="xxh128:f3bf2ed83d691456bae2c3f9a05fb438",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for organelles in electron microscopy: the usual choice",
    ),
    ModelSpec(
        name="vit_l_em_organelles",
        subject="Electron microscopy",
        architecture="vit_l",
        urls=(f"{_BIOIMAGE_IO}/humorous-crab/1.2/files/vit_l.pt",),
        file_name="vit_l_em_organelles.pt",
        size_bytes=None,
        hash="xxh128:810b084b6e51acdbf760a993d8619f2d",
        licence="CC BY 4.0",
        citation=_MICRO_SAM,
        description="micro-sam, for organelles in electron microscopy: a GPU is advisable",
    ),
    ModelSpec(
        name="vit_b_histopathology",
        subject="Histopathology",
        architecture="vit_b",
        urls=(f"{_GWDG}/sBB4H8CTmIoBZsQ/download",),
        file_name="vit_b_histopathology.pt",
        size_bytes=None,
        hash="xxh128:ffd1a2cd84570458b257bd95fdd8f974",
        licence="CC BY 4.0",
        citation=_PATHO_SAM,
        description="PathoSAM, for nuclei in histopathology: the usual choice",
    ),
    ModelSpec(
        name="vit_l_histopathology",
        subject="Histopathology",
        architecture="vit_l",
        urls=(f"{_GWDG}/IZgnn1cpBq2PHod/download",),
        file_name="vit_l_histopathology.pt",
        size_bytes=None,
        hash="xxh128:b591833c89754271023e901281dee3f2",
        licence="CC BY 4.0",
        citation=_PATHO_SAM,
        description="PathoSAM, for nuclei in histopathology: a GPU is advisable",
    ),
    ModelSpec(
        name="vit_h_histopathology",
        subject="Histopathology",
        architecture="vit_h",
        urls=(f"{_GWDG}/L7AcvVz7DoWJ2RZ/download",),
        file_name="vit_h_histopathology.pt",
        size_bytes=None,
        hash="xxh128:bd1856dafc156a43fb3aa705f1a6e92e",
        licence="CC BY 4.0",
        citation=_PATHO_SAM,
        description="PathoSAM, for nuclei in histopathology: the largest",
    ),
    ModelSpec(
        name="vit_b_medical_imaging",
        subject="Medical imaging",
        architecture="vit_b",
        urls=(f"{_GWDG}/f5Ol4FrjPQWfjUF/download",),
        file_name="vit_b_medical_imaging.pt",
        size_bytes=None,
        hash="xxh128:40169f1e3c03a4b67bff58249c176d92",
        licence="CC BY 4.0",
        citation=_MEDICO_SAM,
        description="MedicoSAM, for X-ray, CT, MRI and ultrasound images",
    ),
)

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}
"""All models by name, the bundled one first."""


def model_names() -> tuple[str, ...]:
    """All model names in listing order."""
    return tuple(MODELS)


def get_model_spec(name: str) -> ModelSpec:
    """Look up a model by name.

    Parameters
    ----------
    name : str
        One of `model_names`.

    Returns
    -------
    ModelSpec
        Its registry entry.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UnknownModelError(
            f"There is no model {name!r}.{hint} Choose one of: {', '.join(MODELS)}."
        )
    return MODELS[name]
