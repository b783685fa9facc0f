"""Small files of many formats, dtypes and axes: each opens with its axes, or is refused."""

import struct
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.image_file import describe_array
from napari_promptable.files.images import open_channel, open_image

SIZES = {"T": 2, "C": 4, "Z": 3, "Y": 36, "X": 40, "S": 3}
DTYPES = ("u1", "u2", "u4", "i2", "f2", "f4", "f8", "?")


def make_pixels(axes: str, dtype: str = "u1", **sizes: int) -> np.ndarray:
    """Noise with the length of each axis by its letter."""
    shape = tuple((SIZES | sizes)[axis] for axis in axes)
    return np.random.default_rng(0).integers(0, 2 if dtype == "?" else 200, shape).astype(dtype)


def assert_opens(path: Path, axes: str, pixels: np.ndarray) -> None:
    image = open_image(path)
    assert image.axes == axes
    assert np.array_equal(np.asarray(image.data), pixels)
    assert image.sentence.startswith("read as ")


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "f2"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TZCYX"])
def test_ome_tiff(axes: str, dtype: str, tmp_path: Path) -> None:
    pixels = make_pixels(axes, dtype)
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})
    assert_opens(path, axes, pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_plain_tiff(byteorder: str, dtype: str, tmp_path: Path) -> None:
    pixels = make_pixels("ZYX", dtype)
    stored = pixels.astype(pixels.dtype.newbyteorder(byteorder))
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, stored, photometric="minisblack", byteorder=byteorder)
    assert_opens(path, "ZYX", pixels)


@pytest.mark.parametrize(
    ("axes", "dtype"),
    [("TZCYXS", "u1")]
    + [(axes, dtype) for axes in ("YX", "ZYX", "CYX", "TZCYX") for dtype in ("u1", "u2", "f4")],
)
def test_imagej_tiff(axes: str, dtype: str, tmp_path: Path) -> None:
    pixels = make_pixels(axes, dtype)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes})
    assert_opens(path, axes, pixels)


@pytest.mark.parametrize("samples", [2, 4, 5])
@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
def test_grey_samples_are_channels(name: str, samples: int, tmp_path: Path) -> None:
    pixels = make_pixels("YXS", S=samples)
    extra = ["unspecified"] * (samples - 1)
    options: dict[str, Any] = {"planarconfig": "contig", "extrasamples": extra}
    tifffile.imwrite(tmp_path / name, pixels, photometric="minisblack", **options)
    assert_opens(tmp_path / name, "YXC", pixels)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_rgb_tiff(layout: str, samples: int, tmp_path: Path) -> None:
    pixels = make_pixels("YXS", S=samples)
    stored = pixels if layout == "contig" else np.moveaxis(pixels, -1, 0)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=layout)
    assert_opens(path, "YXS", pixels)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits", "lzma", "png"])
def test_compressed_tiff(compression: str, tmp_path: Path) -> None:
    pixels = make_pixels("ZYX", "u2")
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", compression=compression)
    assert_opens(path, "ZYX", pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
@pytest.mark.parametrize(("dtype", "tile"), [("u2", None), ("f4", None), ("u2", (16, 16))])
def test_tiff_with_a_predictor(compression: str, dtype: str, tile: Any, tmp_path: Path) -> None:
    pixels = make_pixels("ZYX", dtype)
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack",
        compression=compression,
        predictor=True,
        tile=tile,
    )
    assert_opens(path, "ZYX", pixels)


@pytest.mark.parametrize(
    ("compression", "axes"),
    [("jpeg", "YX"), ("jpeg", "YXS"), ("jpeg2000", "YX"), ("jpeg2000", "YXS"), ("webp", "YXS")],
)
def test_lossy_tiff(compression: str, axes: str, tmp_path: Path) -> None:
    rows, columns = np.indices((36, 40))
    pixels = np.clip(3 * rows + 2 * columns, 0, 255).astype(np.uint8)
    pixels = np.stack([pixels] * 3, axis=-1) if axes == "YXS" else pixels
    photometric = "rgb" if axes == "YXS" else "minisblack"
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, photometric=photometric, compression=compression)
    image = open_image(path)
    assert image.axes == axes
    assert np.abs(np.asarray(image.data).astype(int) - pixels).max() <= 12


@pytest.mark.parametrize("num_bits", [4, 10, 12])
@pytest.mark.parametrize("width", [40, 37])
def test_packed_bits(num_bits: int, width: int, tmp_path: Path) -> None:
    """One strip, by hand: each row begins with a whole byte."""
    pixels = make_pixels("YX", "u2", X=width) % 2**num_bits
    bits = pixels[..., None] >> np.arange(num_bits)[::-1] & 1
    body = np.packbits(bits.reshape(len(pixels), -1).astype(bool), axis=1).tobytes()
    tags = {256: width, 257: len(pixels), 258: num_bits, 259: 1, 262: 1}
    tags |= {273: 8, 277: 1, 278: len(pixels), 279: len(body)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    content = [b"II*\0", struct.pack("<I", 8 + len(body)), body]
    content += [struct.pack("<H", len(tags)), *entries, bytes(4)]
    (tmp_path / "image.tif").write_bytes(b"".join(content))
    assert_opens(tmp_path / "image.tif", "YX", pixels)


@pytest.mark.parametrize(
    ("mode", "tags"),
    [(mode, {}) for mode in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")]
    + [("tiff_lzw", {317: 2}), ("tiff_adobe_deflate", {317: 2})],
)
def test_tiff_by_pillow(mode: str, tags: dict[int, int], tmp_path: Path) -> None:
    pixels = make_pixels("YX")
    Image.fromarray(pixels).save(tmp_path / "image.tif", compression=mode, tiffinfo=tags)
    assert_opens(tmp_path / "image.tif", "YX", pixels)


@pytest.mark.parametrize("dtype", ["u1", "u2", "?"])
@pytest.mark.parametrize("name", ["image.png", "image"])
def test_grey_png(dtype: str, name: str, tmp_path: Path) -> None:
    pixels = make_pixels("YX", dtype)
    imageio.v3.imwrite(tmp_path / name, pixels, extension=".png")
    assert_opens(tmp_path / name, "YX", pixels)


@pytest.mark.parametrize(("samples", "axes"), [(2, "YXC"), (3, "YXS"), (4, "YXS")])
@pytest.mark.parametrize("sizes", [{}, {"Y": 5, "X": 7}])
def test_png_with_samples(samples: int, axes: str, sizes: dict, tmp_path: Path) -> None:
    pixels = make_pixels("YXS", S=samples, **sizes)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert_opens(tmp_path / "image.png", axes, pixels)


def test_a_palette_is_read_as_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(make_pixels("YXS")).quantize(16)
    picture.save(tmp_path / "image.png")
    assert_opens(tmp_path / "image.png", "YXS", np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("ending", [".bmp", ".ppm", ".tga", ".webp"])
def test_other_pictures(ending: str, tmp_path: Path) -> None:
    pixels = make_pixels("YXS")
    lossless = {"lossless": True} if ending == ".webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"image{ending}", **lossless)
    assert_opens(tmp_path / f"image{ending}", "YXS", pixels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_npy(dtype: str, tmp_path: Path) -> None:
    pixels = make_pixels("ZYX", dtype)
    np.save(tmp_path / "image.npy", pixels)
    assert_opens(tmp_path / "image.npy", "ZYX", pixels)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((36, 40, 2), "YXC"),
        ((36, 40, 3), "YXS"),
        ((5, 36, 40, 4), "ZYXS"),
        ((36, 7, 3), "ZYX"),
        ((2, 3, 36, 40), "TZYX"),
    ],
)
def test_unnamed_axes_are_guessed_as_napari_does(
    shape: tuple, axes: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", np.zeros(shape, "u1"))
    image = open_image(tmp_path / "image.npy")
    assert image.sentence == f"read as {axes} by its shape"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_zarr_array(zarr_format: int, dtype: str, tmp_path: Path) -> None:
    pixels = make_pixels("ZYX", dtype)
    zarr.create_array(tmp_path / "image.zarr", data=pixels, zarr_format=zarr_format)
    assert_opens(tmp_path / "image.zarr", "ZYX", pixels)


def test_zarr_dimension_names(tmp_path: Path) -> None:
    pixels = make_pixels("CYX")
    names = ["c", "y", "x"]
    zarr.create_array(tmp_path / "image.zarr", data=pixels, dimension_names=names)
    assert_opens(tmp_path / "image.zarr", "CYX", pixels)


def write_ome(group: zarr.Group, pixels: np.ndarray, axes: str, version: str = "0.4") -> None:
    """Fill a group with two resolutions of an OME-Zarr image."""
    group.create_array("0", data=pixels)
    group.create_array("1", data=pixels[..., ::2, ::2])
    kinds = {"T": "time", "C": "channel"}
    image: dict[str, Any] = {
        "datasets": [{"path": "0"}, {"path": "1"}],
        "coordinateTransformations": [{"type": "scale", "scale": [2.0] * len(axes)}],
        "axes": [{"name": a.lower(), "type": kinds.get(a, "space")} for a in axes],
    }
    for axis in image["axes"]:
        if axis["type"] == "space":
            axis["unit"] = "micrometer"
    if version == "0.3":
        image["axes"] = [axis["name"] for axis in image["axes"]]
    if version == "0.1":
        del image["axes"]
    content: dict[str, Any] = {"multiscales": [image]}
    if "C" in axes:
        content["omero"] = {"channels": [{"label": f"dye {n}"} for n in range(SIZES["C"])]}
    group.attrs.update({"ome": {"version": version} | content} if version > "0.4" else content)


@pytest.mark.parametrize("version", ["0.1", "0.3", "0.4", "0.5"])
def test_ome_zarr(version: str, tmp_path: Path) -> None:
    pixels = make_pixels("TCZYX")
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=zarr_format)
    write_ome(group, pixels, "TCZYX", version)
    assert_opens(tmp_path / "image.zarr", "TCZYX", pixels)
    image = open_channel(tmp_path / "image.zarr", channel=1)
    assert image.sentence == "read as TCZYX, 4 channels, using channel 1 (dye 1)"
    assert image.scale["X"] == 2
    assert image.units == ({} if version < "0.4" else dict.fromkeys("ZYX", "µm"))
    assert np.array_equal(image.data[1, 2], pixels[1, 1, 2])


def test_layout_of_bioformats2raw(tmp_path: Path) -> None:
    pixels = make_pixels("CYX")
    root = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1"):
        write_ome(root.create_group(name), pixels, "CYX")
    assert_opens(tmp_path / "image.zarr", "CYX", pixels)
    assert "image 1 of 2" in open_image(tmp_path / "image.zarr").sentence
    root.create_group("OME").attrs["series"] = ["1"]
    assert_opens(tmp_path / "image.zarr", "CYX", pixels)


def test_plain_groups(tmp_path: Path) -> None:
    pixels = make_pixels("YX")
    root = zarr.open_group(tmp_path / "image.zarr", mode="w")
    root.create_array("raw", data=pixels)
    assert_opens(tmp_path / "image.zarr", "YX", pixels)
    root.create_array("truth", data=pixels)
    with pytest.raises(ImageFormatError, match=r"holds raw, truth; give one .*image\.zarr.raw"):
        open_image(tmp_path / "image.zarr")
    assert_opens(tmp_path / "image.zarr" / "truth", "YX", pixels)


def test_a_field_of_a_plate_is_chosen(tmp_path: Path) -> None:
    pixels = make_pixels("CYX")
    path = tmp_path / "plate.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "B/3"}, {"path": "B/4"}]}
    well = root.create_group("B/3")
    well.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
    write_ome(well.create_group("1"), pixels, "CYX")
    with pytest.raises(ImageFormatError, match=r"plate \(2 wells\); .*plate\.zarr.B.3.0"):
        open_image(path)
    with pytest.raises(ImageFormatError, match=r"well with fields 0, 1; .*B.3.0"):
        open_image(path / "B" / "3")
    assert_opens(path / "B" / "3" / "1", "CYX", pixels)


def write_numbers(path: Path) -> None:
    np.save(path, np.arange(5))


def write_objects(path: Path) -> None:
    np.save(path, np.array([{}, {}], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("line.npy", write_numbers),
        ("objects.npy", write_objects),
        ("empty.npy", lambda path: np.save(path, np.zeros((0, 4)))),
        ("deep.npy", lambda path: np.save(path, np.zeros((1,) * 10))),
        ("text.npy", lambda path: path.write_text("text")),
        ("text.tif", lambda path: path.write_text("text")),
        ("text.czi", lambda path: path.write_text("text")),
        ("empty.tif", lambda path: path.write_bytes(b"")),
        ("folder", lambda path: path.mkdir()),
        ("group.zarr", lambda path: zarr.open_group(path, mode="w")),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(name: str, write: Any, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(ImageFormatError, match=name):
        open_image(tmp_path / name)


def test_names_that_a_user_gives_win(tmp_path: Path) -> None:
    planes = make_pixels("ZYX")
    path = tmp_path / "planar.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    assert open_image(path).axes == "YXS"
    stack = open_image(path, "zyx")
    assert stack.axes == "ZYX"
    assert np.array_equal(stack.data, planes)
    assert open_channel(path, "CYX", 2).shape == (36, 40)


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ("YX", "name 2 axes, but the image has 3"),
        ("ZZX", "must be different letters, with Y and X"),
        ("Z-X", "must be different letters"),
        ("TZX", "with Y and X among them"),
        ("YXS", "axis S of 'YXS' has length 40"),
    ],
)
def test_names_that_do_not_fit_are_refused(axes: str, problem: str, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", make_pixels("ZYX"))
    with pytest.raises(ImageFormatError, match=problem):
        open_image(tmp_path / "image.npy", axes)


def test_pixel_sizes_and_channel_names_are_read(tmp_path: Path) -> None:
    pixels = make_pixels("ZCYX", "u2")
    metadata = {
        "axes": "ZCYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeZ": 1.5,
        "Channel": {"Name": ["DAPI", "GFP", "RFP", "Cy5"]},
    }
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    image = open_channel(path, channel=1)
    assert image.scale == {"X": 0.2, "Z": 1.5}
    assert image.units == {"X": "µm", "Z": "µm"}
    assert image.sentence == "read as ZCYX, 4 channels, using channel 1 (GFP)"


def test_pixel_sizes_of_imagej(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    options: dict[str, Any] = {"resolution": (5.0, 4.0), "imagej": True}
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(path, make_pixels("ZYX"), metadata=metadata, **options)
    image = open_image(path)
    assert image.scale == pytest.approx({"X": 0.2, "Y": 0.25, "Z": 2.0})
    assert image.units == dict.fromkeys("XYZ", "um")


def test_an_installed_plugin_reads_what_we_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.czi"
    path.write_bytes(b"a format of its own")
    planes = [make_pixels("ZYX"), make_pixels("ZYX") + 1]
    layers = [
        ([plane, plane[:, ::2, ::2]], {"name": name, "scale": (2, 1, 1)}, "image")
        for plane, name in zip(planes, ("DAPI", "GFP"), strict=True)
    ]
    monkeypatch.setattr("npe2.read", lambda _paths, stack: layers)
    image = open_channel(path, channel=1)
    assert image.sentence == "read as CZYX by a plugin, 2 channels, using channel 1 (GFP)"
    assert image.scale["Z"] == 2
    assert np.array_equal(np.asarray(image.data), planes[1])


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((1, 1, 5, 6), "TZYX", ((5, 6), "YX")),
        ((1, 4, 5, 6), "TZYX", ((4, 5, 6), "ZYX")),
        ((2, 4, 5, 6), "TZYX", ((2, 4, 5, 6), "TZYX")),
        ((1, 5, 6), "ZYX", ((1, 5, 6), "ZYX")),
        ((5, 6), "YX", ((5, 6), "YX")),
    ],
)
def test_a_stack_has_no_axes_of_length_1_besides(shape, axes, expected) -> None:
    image = describe_array(np.zeros(shape, np.uint8), axes, "image").as_stack()
    assert (image.shape, image.axes) == expected
