"""Pictures and label maps of one's own: every common format is read right, or refused."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import nbformat
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from mtl_helpers.case_study.nuclei import nuclei, read_labels, read_picture
from mtl_helpers.datasets import pictures as reading

GREY = np.random.default_rng(0).integers(0, 256, (20, 24)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 24, 3)).astype(np.uint8)
# What a 12-bit camera sees, in a 16-bit file: every level is even, so a lost byte would show.
DEEP = np.linspace(0, 4094, 480).round().reshape(20, 24).astype(np.uint16)
DEEP_COLOUR = np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
SHARES = DEEP_COLOUR / 4094 * 255


def found(path, **more):
    picture = read_picture(path, **more)
    assert picture.dtype == torch.uint8 and picture.shape[0] == 3 and picture.is_contiguous()
    return picture.permute(1, 2, 0).numpy()


def grey3(values):
    return np.repeat(values[..., None], 3, axis=2)


def png16(values):
    """Write a PNG of 16 bits a channel, which Pillow writes for grey only."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- depths


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.gif"])
def test_eight_bits_are_taken_as_they_are(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / name, lossless=True)
    assert np.array_equal(found(tmp_path / name), grey3(GREY))
    if name != "a.gif":
        Image.fromarray(COLOUR).save(tmp_path / name, lossless=True)
        assert np.array_equal(found(tmp_path / name), COLOUR)


DEEP_FILES = {
    "plain": {}, "zlib": {"compression": "zlib"}, "big-endian": {"byteorder": ">"},
    "big-endian zlib": {"byteorder": ">", "compression": "zlib"},
    "planes": {"planarconfig": "separate"}, "BigTIFF": {"bigtiff": True},
    "tiles": {"tile": (16, 16)},
}  # fmt: skip


@pytest.mark.parametrize("kind", DEEP_FILES)
def test_sixteen_bit_colour_keeps_its_levels_in_a_tiff(tmp_path, kind):
    values = np.moveaxis(DEEP_COLOUR, 2, 0) if kind == "planes" else DEEP_COLOUR
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="rgb", **DEEP_FILES[kind])
    picture = found(tmp_path / "c.tif")
    assert np.abs(picture - SHARES).max() < 1.5 and len(np.unique(picture)) > 250
    if kind != "planes":  # a codec that tifffile alone does not know: Pillow reads both bytes
        with open(tmp_path / "c.tif", "rb") as file:
            assert np.array_equal(reading._from_pillow(file, "c", None, False), DEEP_COLOUR)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_in_a_png(tmp_path, channels):
    values = np.dstack([DEEP_COLOUR, np.full_like(DEEP, 65_535)])
    values = values[..., [0, 3]] if channels == 2 else values[..., :channels]
    (tmp_path / "c.png").write_bytes(png16(values))
    expected = SHARES if channels > 2 else grey3(SHARES[..., 0])
    assert np.abs(found(tmp_path / "c.png") - expected).max() < 1.5


def test_grey_and_colour_of_a_camera_have_the_same_levels(tmp_path):
    tifffile.imwrite(tmp_path / "g.tif", DEEP)
    tifffile.imwrite(tmp_path / "c.tif", np.dstack([DEEP] * 3), photometric="rgb")
    apart = found(tmp_path / "g.tif").astype(int) - found(tmp_path / "c.tif")
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "float16", "float32", "float64"])
def test_signed_numbers_and_floats_are_stretched(tmp_path, kind):
    values = DEEP.astype(kind) - (0 if kind == "uint32" else 1000)
    tifffile.imwrite(tmp_path / "n.tif", values)
    assert np.abs(found(tmp_path / "n.tif") - grey3(SHARES[..., 0])).max() < 2.5
    if kind.startswith("float"):  # a range of 0 to 1, as many programs have it
        tifffile.imwrite(tmp_path / "n.tif", (DEEP / 4094).astype(kind), photometric="minisblack")
        assert np.abs(found(tmp_path / "n.tif") - grey3(SHARES[..., 0])).max() < 1.5


def test_a_hot_pixel_and_a_flat_picture(tmp_path):
    wide = np.linspace(1000, 5000, 40_000).reshape(200, 200).astype(np.float32)
    wide[0, 0] = 1e9
    tifffile.imwrite(tmp_path / "h.tif", wide)
    assert len(np.unique(found(tmp_path / "h.tif"))) > 250
    for flat in (np.full((40, 40), 7, np.uint16), np.full((40, 40), 0.5, np.float32)):
        tifffile.imwrite(tmp_path / "f.tif", flat)
        assert not found(tmp_path / "f.tif").any()
    flat[3, 3] = 0.75  # one bright pixel among equal ones is still seen
    tifffile.imwrite(tmp_path / "f.tif", flat)
    assert found(tmp_path / "f.tif")[3, 3, 0] == 255 and found(tmp_path / "f.tif").sum() == 765


def test_pixels_that_are_no_numbers_are_refused_and_the_advice_works(tmp_path):
    pixels = (DEEP / 4094).astype(np.float32)
    pixels[0, :3], pixels[1, 0] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "n.tif", pixels)
    with pytest.raises(
        ValueError, match=r"n.tif has 4 pixels that are NaN or infinite.*nan_to_num"
    ):
        read_picture(tmp_path / "n.tif")
    tifffile.imwrite(tmp_path / "n.tif", np.nan_to_num(pixels))
    read_picture(tmp_path / "n.tif")
    tifffile.imwrite(tmp_path / "c.tif", pixels.astype(np.complex64))
    with pytest.raises(ValueError, match="c.tif has pixels of type complex64"):
        read_picture(tmp_path / "c.tif")


def test_packed_bits(tmp_path):
    """Twelve bits without a gap, and four: two pixels in three bytes, two in one."""
    for bits, values in ((12, DEEP), (4, DEEP // 273)):
        text = "".join(f"{v:0{bits}b}" for v in values.ravel())
        data = int(text, 2).to_bytes(len(text) // 8, "big")
        tags = [(256, 24), (257, 20), (258, bits), (259, 1), (262, 1), (273, 200), (277, 1),
                (278, 20), (279, len(data))]  # fmt: skip
        head = b"II*\0" + struct.pack("<IH", 8, len(tags))
        head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
        (tmp_path / "p.tif").write_bytes(head.ljust(200, b"\0") + data)
        picture = found(tmp_path / "p.tif")
        assert np.abs(picture - grey3(SHARES[..., 0])).max() < (1.5 if bits == 12 else 17.5)


# --------------------------------------------------------------------------------------- colours


def test_white_is_zero(tmp_path):
    for values in (GREY, DEEP, DEEP.astype(np.float32), DEEP.astype(np.int16), GREY > 99):
        for compression in (None, "zlib"):
            path = tmp_path / "w.tif"
            tifffile.imwrite(path, values, photometric="miniswhite", compression=compression)
            scale = 255 / values.max()
            assert np.abs(found(path) - (255 - grey3(values * scale))).max() < 2
            if values.dtype == np.int16:  # tifffile's alone
                continue
            with open(path, "rb") as file:
                for raw in (False, True):
                    file.seek(0)
                    one = reading._from_tiff(file, "w", None, raw)
                    file.seek(0)
                    assert np.array_equal(one, reading._from_pillow(file, "w", None, raw))


def test_palettes_transparency_one_bit_and_ink(tmp_path):
    eight = (COLOUR // 128 * 255).astype(np.uint8)
    Image.fromarray(eight).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "p.png", transparency=bytes([0, 128, 255])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(found(tmp_path / "p.png"), eight)
    Image.fromarray(eight).quantize(8).save(tmp_path / "p.tif")
    assert np.array_equal(found(tmp_path / "p.tif"), eight)
    clear = np.dstack([COLOUR, np.zeros((20, 24), np.uint8)])
    for name in ("a.png", "a.tif"):  # wholly transparent: the colours are taken nevertheless
        Image.fromarray(clear).save(tmp_path / name)
        assert np.array_equal(found(tmp_path / name), COLOUR)
        Image.fromarray(np.dstack([GREY, GREY // 2])).save(tmp_path / name)
        assert np.array_equal(found(tmp_path / name), grey3(GREY))
    for name, more in (("o.png", {}), ("o.tif", {}), ("o.tif", {"compression": "group4"})):
        Image.fromarray(GREY > 99).save(tmp_path / name, **more)
        assert np.array_equal(found(tmp_path / name), grey3((GREY > 99) * np.uint8(255)))
    ink = Image.new("CMYK", (24, 20), (0, 255, 255, 0))
    for name in ("i.tif", "i.jpg"):  # no cyan, all magenta and yellow: red
        ink.save(tmp_path / name)
        assert np.abs(found(tmp_path / name).astype(int) - [255, 0, 0]).max() < 3


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_compressed_tiffs(tmp_path, compression):
    more = {"quality": 100} if compression == "jpeg" else {}
    Image.fromarray(COLOUR).save(tmp_path / "c.tif", compression=compression, **more)
    apart = np.abs(found(tmp_path / "c.tif").astype(int) - COLOUR)
    assert apart.mean() < 3 if compression == "jpeg" else not apart.any()
    if compression == "tiff_lzw":
        Image.fromarray(DEEP).save(tmp_path / "c.tif", compression=compression)
        assert np.abs(found(tmp_path / "c.tif") - grey3(SHARES[..., 0])).max() < 1.5


@pytest.mark.parametrize(
    ("values", "more", "words"),
    [
        (np.zeros((20, 24, 4), np.uint8), {"photometric": "minisblack"}, r"4 channel\(s\)"),
        (np.zeros((20, 24, 2), np.uint16), {"photometric": "minisblack"}, r"2 channel\(s\)"),
        (np.zeros((20, 24, 5), np.uint8), {"photometric": "rgb"}, r"5 channel\(s\)"),
        (
            np.zeros((20, 24, 4), np.uint8),
            {"photometric": "rgb", "extrasamples": [0]},
            "channel of",
        ),
        (np.zeros((9, 20, 24), np.uint8), {"volumetric": True}, r"in 9 plane\(s\).*by itself"),
    ],
)
def test_dyes_and_volumes_are_refused(tmp_path, values, more, words):
    if values.shape[2] < 9:
        more = {**more, "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "d.tif", values, **more)
    with pytest.raises(ValueError, match=f"d.tif has .*{words}"):
        read_picture(tmp_path / "d.tif")
    tifffile.imwrite(tmp_path / "d.tif", values[..., 0] if values.shape[2] < 9 else values[0])
    assert read_picture(tmp_path / "d.tif").shape == (3, 20, 24)  # as advised


def test_colours_of_other_kinds_are_refused(tmp_path):
    Image.new("LAB", (24, 20)).save(tmp_path / "l.tif")
    with pytest.raises(ValueError, match="l.tif has colours of kind 'LAB'; save it as grey or RGB"):
        read_picture(tmp_path / "l.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((20, 24, 4), np.uint16), photometric="separated")
    with pytest.raises(ValueError, match="c.tif has colours of kind 'CMYK;16L'; save it as RGB"):
        read_picture(tmp_path / "c.tif")


# ------------------------------------------------------------------------------ turns and pages


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["t.jpg", "t.png", "t.webp", "t.tif", "deep.tif", "lzw.tif"])
def test_turned_pictures_are_read_upright(tmp_path, name, turn):
    """The camera's pixels are what the upright picture looks like turned back."""
    upright = np.zeros((40, 64), np.uint8)
    upright[:8, :40], upright[:24, :8] = 250, 120  # no symmetry
    back = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
            5: np.transpose, 6: np.rot90, 7: lambda a: np.rot90(a, 2).T,
            8: lambda a: np.rot90(a, -1)}[turn](upright)  # fmt: skip
    back = np.ascontiguousarray(back)
    if name == "deep.tif":
        tifffile.imwrite(tmp_path / name, back, extratags=[(274, 3, 1, turn, True)])
    elif name.endswith("tif"):
        more = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        Image.fromarray(back).save(tmp_path / name, tiffinfo={274: turn}, **more)
    else:
        tag = Image.Exif()
        tag[274] = turn
        Image.fromarray(back).save(tmp_path / name, exif=tag, quality=95)
    picture = found(tmp_path / name)
    assert picture.shape == (40, 64, 3) and np.abs(picture[..., 0].astype(int) - upright).mean() < 3


def stack_of(tmp_path, kind):
    planes = np.stack([np.full((20, 24), 10 * i, np.uint8) for i in range(5)])
    path = tmp_path / "s.tif"
    if kind == "gif":
        path = tmp_path / "s.gif"
        frames = [Image.fromarray(plane) for plane in planes]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif kind == "lzw":
        frames = [Image.fromarray(plane) for plane in planes]
        frames[0].save(path, save_all=True, append_images=frames[1:], compression="tiff_lzw")
    else:
        more = {"ImageJ": {"imagej": True}, "OME": {"ome": True}, "behind one page": {
            "truncate": True}, "plain": {}}[kind]  # fmt: skip
        tifffile.imwrite(path, planes, photometric="minisblack", **more)
    return path


@pytest.mark.parametrize("kind", ["plain", "ImageJ", "OME", "behind one page", "lzw", "gif"])
def test_of_a_stack_a_page_must_be_chosen(tmp_path, kind):
    path = stack_of(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"{path.name} holds 5 pages.*page=0 to page=4"):
        read_picture(path)
    assert (found(path, page=0) == 0).all() and (found(path, page=4) == 40).all()
    for page in (5, -1):
        with pytest.raises(ValueError, match=rf"{path.name} has 5 page\(s\).*no page {page}"):
            read_picture(path, page=page)
    Image.fromarray(GREY).save(tmp_path / "one.png")
    assert np.array_equal(found(tmp_path / "one.png", page=0), grey3(GREY))
    with pytest.raises(ValueError, match=r"one.png has 1 page\(s\)"):
        read_picture(tmp_path / "one.png", page=1)


def test_a_page_of_deep_colour(tmp_path):
    tifffile.imwrite(
        tmp_path / "d.tif", np.stack([DEEP_COLOUR * 0, DEEP_COLOUR]), photometric="rgb"
    )
    with open(tmp_path / "d.tif", "rb") as file:
        assert np.array_equal(reading._from_pillow(file, "d", 1, False), DEEP_COLOUR)


def test_the_preview_in_a_telephones_picture_is_no_page(tmp_path):
    first, preview = Image.fromarray(COLOUR), Image.fromarray(COLOUR[:5, :5])
    first.save(tmp_path / "m.jpg", "MPO", save_all=True, append_images=[preview])
    assert found(tmp_path / "m.jpg").shape == (20, 24, 3)


# ------------------------------------------------------------------------- paths, sizes, damage


def test_text_home_and_links(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    Image.fromarray(GREY).save(tmp_path / "there" / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.png").symlink_to(tmp_path / "there" / "a.png")
    (tmp_path / "folder").symlink_to(tmp_path / "there")
    before = (tmp_path / "there" / "a.png").stat()
    for path in ("~/there/a.png", str(tmp_path / "link.png"), tmp_path / "folder" / "a.png"):
        assert np.array_equal(found(path), grey3(GREY))
    after = (tmp_path / "there" / "a.png").stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    (tmp_path / "there" / "a.png").chmod(0o444)
    assert np.array_equal(found("~/there/a.png"), grey3(GREY))


def test_a_misspelt_path_is_named_and_not_made(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "cells.png")
    with pytest.raises(FileNotFoundError, match=r"no picture .*celsl.png .*did you mean cells.png"):
        read_picture(tmp_path / "celsl.png")
    with pytest.raises(FileNotFoundError, match=r"no picture .*that folder is not there either"):
        read_picture(tmp_path / "elsewhere" / "cells.png")
    with pytest.raises(IsADirectoryError, match=r"is a folder; give the path of one picture in it"):
        read_picture(tmp_path)
    for wrong in (None, GREY, torch.zeros(3, 4, 4)):
        with pytest.raises(TypeError, match=f"give the path of a picture.*{type(wrong).__name__}"):
            read_picture(wrong)
    assert os.listdir(tmp_path) == ["cells.png"]


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "h.tif", GREY)
    content = bytearray((tmp_path / "h.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "h.tif") as tiff:
        for tag in (256, 257):
            place = tiff.pages[0].tags[tag].valueoffset
            content[place : place + 2] = struct.pack("<H", 60_000)
    (tmp_path / "h.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"h.tif is too large, 60000x60000 pixels.*crop it"):
        read_picture(tmp_path / "h.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # in place of a file of 100 megapixels
    Image.fromarray(GREY).save(tmp_path / "h.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(found(tmp_path / "h.png"), grey3(GREY))  # large: no warning
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="h.png is too large: at most 178,956,970 pixels; crop it"):
        read_picture(tmp_path / "h.png")


@pytest.mark.parametrize("name", ["c.png", "c.jpg", "c.tif", "z.tif", "lzw.tif", "c.gif", "c.bmp"])
def test_damaged_files_are_named(tmp_path, name):
    path = tmp_path / name
    more = {"z.tif": {"compression": "tiff_adobe_deflate"}, "lzw.tif": {"compression": "tiff_lzw"}}
    Image.fromarray(np.tile(COLOUR, (4, 4, 1))).save(path, **more.get(name, {}))
    whole = path.read_bytes()
    for length in (len(whole) // 2, 40, 6, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"{name} is not a readable picture"):
            read_picture(path)


@pytest.mark.parametrize("more", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_tiff_cut_between_its_strips(tmp_path, more):
    """The list of strips stands at the beginning; what is missing must not become black."""
    rows = {} if "tile" in more else {"rowsperstrip": 4}
    tifffile.imwrite(tmp_path / "c.tif", np.tile(COLOUR, (4, 4, 1)), **more, **rows)
    with tifffile.TiffFile(tmp_path / "c.tif") as tiff:
        end = tiff.pages[0].dataoffsets[-1]
    (tmp_path / "c.tif").write_bytes((tmp_path / "c.tif").read_bytes()[:end])
    with pytest.raises(ValueError, match="c.tif is not a readable picture: it is cut short"):
        read_picture(tmp_path / "c.tif")


def test_what_is_no_picture(tmp_path):
    for name, content in (("a.png", b"hello"), ("b.czi", b"ZISRAWFILE"),
                          ("c.tif", b"II*\0" + bytes(9)), ("d.svg", b"<svg/>"),
                          ("e.ps", b"%!PS-Adobe-3.0 EPSF")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} is not a readable picture .*PNG, TIFF or"):
            read_picture(tmp_path / name)


# ------------------------------------------------------------------------------------ label maps

MAP = np.zeros((20, 24), np.uint32)
MAP[2:6, 2:6], MAP[6:9, 2:6], MAP[12:15, 12:20] = 7, 40_000, 3
CLOSED = np.zeros((20, 24), np.int32)
CLOSED[2:6, 2:6], CLOSED[6:9, 2:6], CLOSED[12:15, 12:20] = 2, 3, 1


def test_label_maps_with_gaps_and_large_numbers(tmp_path):
    for name, values in (
        ("a.tif", MAP), ("b.tif", MAP.astype(np.uint16)), ("c.png", MAP.astype(np.uint16)),
        ("d.tif", MAP.astype(np.int32)), ("e.tif", np.where(MAP == 40_000, 2**32 - 1, MAP)),
        ("f.tif", np.where(MAP == 40_000, 2**63 + 5, MAP.astype(np.uint64))),
    ):  # fmt: skip
        if name.endswith("png"):
            Image.fromarray(values).save(tmp_path / name)
        else:
            tifffile.imwrite(tmp_path / name, values.astype(values.dtype), photometric="minisblack")
        labels = read_labels(tmp_path / name)
        assert labels.dtype == torch.int32 and np.array_equal(labels, CLOSED), name
    tifffile.imwrite(tmp_path / "w.tif", MAP.astype(np.uint16), photometric="miniswhite")
    assert np.array_equal(read_labels(tmp_path / "w.tif"), CLOSED)  # stored numbers, not colours
    Image.fromarray(MAP.astype(np.uint16)).save(
        tmp_path / "l.tif", compression="tiff_lzw", tiffinfo={262: 0}
    )
    assert np.array_equal(read_labels(tmp_path / "l.tif"), CLOSED)


def test_a_label_map_with_a_palette(tmp_path):
    image = Image.fromarray(CLOSED.astype(np.uint8), "L").copy()
    image.putpalette([0, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0, 9])  # 1 and 2 look alike
    image.save(tmp_path / "p.png")
    assert np.array_equal(read_labels(tmp_path / "p.png"), CLOSED)


def test_a_single_mask_is_split_into_its_pieces(tmp_path):
    mask = (CLOSED > 0) * np.uint8(255)
    mask[15, 20] = 255  # touches at a corner only
    for name, values in (("m.png", mask), ("b.png", mask > 0), ("m.tif", mask > 0), ("n.png",
                         np.dstack([mask] * 3))):  # fmt: skip
        Image.fromarray(values).save(tmp_path / name)
        labels = read_labels(tmp_path / name)
        assert int(labels.max()) == 2 and np.array_equal(labels > 0, mask > 0)
        assert labels[15, 20] == labels[14, 19] != labels[2, 2]
    Image.fromarray(mask > 0).save(tmp_path / "w.tif", compression="group4", tiffinfo={262: 0})
    with Image.open(tmp_path / "w.tif") as image:
        assert image.tag_v2[262] == 0
    stored = ~(mask > 0)  # white is zero: Pillow stores black as one
    assert np.array_equal(read_labels(tmp_path / "w.tif") > 0, stored)
    Image.fromarray(mask * 0).save(tmp_path / "e.png")
    assert not read_labels(tmp_path / "e.png").any()


def test_label_maps_that_are_refused_and_the_advice_works(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, MAP.astype(np.float32))
    with pytest.raises(ValueError, match=r"x.tif must be a label map .*whole numbers.*float32"):
        read_labels(path)
    tifffile.imwrite(path, MAP.astype(np.int32) - 1)
    with pytest.raises(ValueError, match=r"x.tif must be a label map .*from 0 up.*smallest -1"):
        read_labels(path)
    tifffile.imwrite(path, np.dstack([MAP, MAP, MAP * 2]).astype(np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="x.tif has colours.*save the label map as a grey"):
        read_labels(path)
    Image.fromarray(CLOSED.astype(np.uint8)).save(tmp_path / "x.jpg")
    with pytest.raises(ValueError, match="x.jpg is a JPEG, which changes numbers; save .* as PNG"):
        read_labels(tmp_path / "x.jpg")
    soft = np.asarray(Image.fromarray((CLOSED > 0) * np.uint8(255)).resize((96, 80), 3))
    tifffile.imwrite(path, soft)
    with pytest.raises(
        ValueError, match=r"x.tif has \d+ different numbers in \d+ pieces.*threshold"
    ):
        read_labels(path)
    tifffile.imwrite(path, soft > 127)
    assert int(read_labels(path).max()) == 2
    with pytest.raises(FileNotFoundError, match=r"did you mean x\.(tif|jpg)\?"):
        read_labels(tmp_path / "x.ti")


def test_the_numbers_of_pillow_files_come_in_this_machines_order():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP, byteorder=">")
    values = reading.decode(buffer.getvalue(), "d")
    assert values.dtype.isnative and np.array_equal(values, DEEP)


# ---------------------------------------------------------------------------- the cell in lesson 10


def cell_with(mine):
    """Give the first half of the lesson's cell, with another path."""
    path = Path(__file__).parents[2] / "notebooks" / "10_gpu_case_study.ipynb"
    cells = nbformat.read(path, 4).cells
    (source,) = (cell.source for cell in cells if "MINE = " in cell.source)
    before, after = source.split("found =")[0].split('MINE = ""')
    return f"{before}MINE = {mine!r}{after}"


def test_the_lessons_cell_only_reads_what_it_is_given(tmp_path, monkeypatch):
    names = {"np": np, "nuclei": nuclei, "folder": tmp_path / "made"}
    (tmp_path / "made").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(GREY).save(tmp_path / "cells.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "cells.png")
    before = (tmp_path / "cells.png").read_bytes()
    for mine in (str(tmp_path / "cells.png"), "~/cells.png", str(tmp_path / "link.png")):
        exec(cell_with(mine), names)
        assert np.array_equal(names["mine"][0], GREY)
    for wrong in ("cels.png", "none/cells.png"):
        with pytest.raises(FileNotFoundError, match=f"there is no picture .*{wrong}"):
            exec(cell_with(str(tmp_path / wrong)), names)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.png", "link.png", "made"]
    assert (tmp_path / "cells.png").read_bytes() == before and not any(
        (tmp_path / "made").iterdir()
    )
    exec(cell_with(""), names)
    assert names["mine"].shape == (3, 160, 160)
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["drawn.tif"]
