"""Read pictures and label maps of one's own, whatever program wrote them.

Pillow reads everything but TIFF. A TIFF is read by tifffile, which knows numbers of any size, and
by Pillow where it is compressed in a way that tifffile alone cannot undo. Files are opened for
reading only.

What is decided here, each with a test:

* 16 bits a channel, signed numbers and floats are stretched from the 0.1th to the 99.9th percentile
  of the whole picture, all channels alike. So 12 bits in a 16-bit file use the whole range.
* A pixel that is NaN or infinite is refused: nobody can say how bright it is.
* Transparency is ignored: the colours are taken as they are stored.
* Palettes, CMYK and YCbCr become RGB without a colour profile; 1-bit pictures become black and
  white; where a TIFF says that zero is white, the picture is inverted.
* A picture is turned upright as its EXIF or TIFF orientation says.
* Of several pages or frames one must be chosen; they are refused otherwise. The second picture in a
  telephone's JPEG (MPO), a preview, is not a page.
* Channels that are neither grey, colour nor transparency (four dyes, say) are refused.
* In a label map the stored numbers count, not the colours that a palette or "white is zero" shows.
"""

from __future__ import annotations

import difflib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

KINDS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "WEBP")
LARGEST = 178_956_970  # pixels; Pillow takes no more, so that a tiny file cannot fill the memory
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ALPHA = (1, 2)  # what a TIFF calls a channel of transparency


def read_picture(path: str | Path, *, page: int | None = None) -> Tensor:
    """Read a picture of one's own: PNG, TIFF, JPEG, BMP, GIF or WebP.

    What is done with depths, colours, transparency and turned pictures stands at the top of this
    file. The file is never written to.

    Args:
        path: of the file; ``~`` and links are followed.
        page: which page of a file of several, counted from 0.

    Returns:
        uint8 [3, H, W]; grey pictures have three equal channels.

    Raises:
        FileNotFoundError: there is no such file; a file with a similar name is suggested.
        OSError: it is a folder, or may not be read.
        ValueError: it is no such picture; the message says what was found and what to do.
    """
    path = existing(path)
    with open(path, "rb") as file:
        values = decode(file, path.name, page=page)
    return torch.tensor(grey_levels(values, path.name)).permute(2, 0, 1).contiguous()


def existing(path: str | Path, what: str = "picture") -> Path:
    """Give the path of a file that is there, ``~`` expanded.

    Raises:
        TypeError: it is no path.
        FileNotFoundError: nothing is there; a file with a similar name is suggested.
        IsADirectoryError: it is a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"give the path of a {what}, as text; found a {type(path).__name__}")
    found = Path(os.path.expanduser(path))
    if found.is_dir():
        raise IsADirectoryError(f"{found} is a folder; give the path of one {what} in it")
    if not found.exists():
        message = f"there is no {what} {found} (looked in {found.parent.absolute()})"
        if not found.parent.is_dir():
            raise FileNotFoundError(f"{message}: that folder is not there either")
        near = difflib.get_close_matches(found.name, sorted(os.listdir(found.parent)), n=1)
        raise FileNotFoundError(message + "".join(f"; did you mean {name}?" for name in near))
    return found


def decode(
    file: BinaryIO | bytes, name: str, *, page: int | None = None, raw: bool = False
) -> np.ndarray:
    """Decode a picture file: [H, W] for grey, [H, W, 3] for colour, as the numbers in the file.

    Args:
        file: open for reading, or what it holds.
        name: for messages.
        page: which page of several, counted from 0.
        raw: give the stored numbers of a palette or a white-is-zero picture, for label maps; JPEG,
            which changes numbers, is refused.

    Raises:
        ValueError: it is no picture, or one that cannot be read right; the message says what to do.
    """
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    start = file.read(4)
    file.seek(0)
    try:
        with warnings.catch_warnings():  # a large picture is no surprise here
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            values = _from_tiff(file, name, page, raw) if start in _TIFF else None
            if values is None:
                file.seek(0)
                values = _from_pillow(file, name, page, raw)
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large: at most {LARGEST:,} pixels; crop it") from error
    except Exception as error:  # both libraries raise many classes for damaged files
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its first bytes are those of no kind known here" if unknown else error
        raise ValueError(
            f"{name} is not a readable picture ({reason}); give a PNG, TIFF or JPEG file. "
            "If it opens elsewhere, save it again as PNG or as TIFF without compression"
        ) from error
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)


class _RefusedError(Exception):
    """A picture that was understood and is refused; the text is for the learner."""


def _one_of(count: int, page: int | None, name: str) -> int:
    if page is None and count > 1:
        raise _RefusedError(
            f"{name} holds {count} pages (a stack, channels or frames); choose one with page=0 to "
            f"page={count - 1}, or save that page by itself"
        )
    if not 0 <= (page or 0) < count:
        raise _RefusedError(f"{name} has {count} page(s), counted from 0; there is no page {page}")
    return page or 0


def _from_tiff(file: BinaryIO, name: str, page: int | None, raw: bool) -> np.ndarray | None:
    """Read a TIFF with tifffile; None for what Pillow has to read."""
    with tifffile.TiffFile(file) as tiff:
        one, stack = tiff.pages[0], tiff.series[0]
        hidden = len(tiff.pages) == 1 and stack.size > one.size  # ImageJ: many planes, one page
        count = stack.size // one.size if hidden else len(tiff.pages)
        number = _one_of(count, page, name)
        one = one if hidden else tiff.pages[number].aspage()
        if one.imagewidth * one.imagelength > LARGEST:
            raise _RefusedError(
                f"{name} is too large, {one.imagelength}x{one.imagewidth} pixels: at most "
                f"{LARGEST:,} are read; crop it"
            )
        wanted = 3 if one.photometric == 2 else 1
        if one.photometric not in (0, 1, 2) or one.bitspersample not in (1, 8, 16, 32, 64):
            return None  # palettes, CMYK, YCbCr, packed bits
        alpha = one.samplesperpixel == wanted + 1 and one.extrasamples[0] in _ALPHA
        if one.imagedepth > 1 or (one.samplesperpixel != wanted and not alpha):
            raise _RefusedError(
                f"{name} has {one.samplesperpixel} channel(s) in {one.imagedepth} plane(s), which "
                "is neither grey nor RGB; save the channel of the nuclei by itself"
            )
        size = file.seek(0, os.SEEK_END)
        ends = map(sum, zip(one.dataoffsets, one.databytecounts, strict=True))
        if max(ends, default=0) > size:  # tifffile would fill what is missing with zeros
            raise _RefusedError(f"{name} is not a readable picture: it is cut short; copy it again")
        try:
            values = tiff.asarray().reshape(-1, *one.shape)[number] if hidden else one.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                return None  # compressed in a way that Pillow may know
            raise
        values = np.moveaxis(values, 0, -1) if one.axes.startswith("S") else values
        if values.ndim == 3:
            values = values[..., 0] if wanted == 1 else values[..., :3]
        if one.photometric == 0 and not raw:
            values = _inverted(values)
        return _upright(values, one.tags.valueof(274))


def _from_pillow(file: BinaryIO, name: str, page: int | None, raw: bool) -> np.ndarray:
    with Image.open(file, formats=KINDS) as image:
        kind, frames = image.format, getattr(image, "n_frames", 1)
        if raw and kind in ("JPEG", "MPO", "WEBP"):
            raise _RefusedError(f"{name} is a {kind}, which changes numbers; save labels as PNG")
        image.seek(_one_of(1 if kind == "MPO" else frames, page, name))
        mode, coded = image.mode, _coded(image)  # before anything loads the pixels
        turn = None if kind == "TIFF" else image.getexif().get(274)  # Pillow turns a TIFF itself
        white_is_zero = kind == "TIFF" and image.tag_v2.get(262) == 0
        if ";16" in coded and not mode.startswith("I"):
            return _upright(_both_bytes(file, image.tell(), coded, name), turn)
        if mode in ("CMYK", "YCbCr", "PA") or (mode == "P" and not raw):
            image.info.pop("transparency", None)  # ignored; Pillow would warn
            values = np.asarray(image.convert("RGB"))
        elif mode in ("1", "L", "LA", "P", "I", "F") or mode.startswith(("RGB", "I;16")):
            values = np.asarray(image)
        else:
            raise _RefusedError(f"{name} has colours of kind {mode!r}; save it as grey or RGB")
    if values.ndim == 3:
        values = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    if white_is_zero and raw == (mode in ("1", "L")):  # these Pillow inverts itself, others not
        values = _inverted(values)
    return _upright(values, turn)


def _coded(image: Image.Image) -> str:
    """Say how the pixels of an open file are laid out, in Pillow's words: ``"RGB;16B"``."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments if isinstance(arguments, str) else arguments[0])


def _both_bytes(file: BinaryIO, page: int, coded: str, name: str) -> np.ndarray:
    """Read 16-bit colours, of which Pillow keeps one byte: once the high bytes, once the low."""
    order = coded[-1]  # L or B: which byte comes first in the file; N: as this machine has it
    order = ("L" if sys.byteorder == "little" else "B") if order == "N" else order
    if coded.startswith(("RGB;", "RGBA;", "RGBX;")):
        layouts = [coded[:-1] + order, coded[:-1] + ("B" if order == "L" else "L")]
    elif coded == "LA;16B":  # a pixel has four bytes: grey high, grey low, transparency
        layouts = ["RGBA"]
    else:
        raise _RefusedError(f"{name} has colours of kind {coded!r}; save it as RGB or grey")
    found = []
    for layout in layouts:
        file.seek(0)
        with Image.open(file, formats=KINDS) as image:
            image.seek(page)
            image.tile = [
                part._replace(
                    args=layout if isinstance(part.args, str) else (layout, *part.args[1:])
                )
                for part in image.tile
            ]
            found.append(np.asarray(image).astype(np.uint16))
    if len(found) == 1:
        return found[0][..., 0] * 256 + found[0][..., 1]
    return found[0][..., :3] * 256 + found[1][..., :3]


def check_picture(picture: Tensor, what: str = "the picture") -> None:
    """Refuse what is not uint8 [3, H, W].

    Raises:
        ValueError: it is something else; the message says what.
    """
    shape, kind = getattr(picture, "shape", None), getattr(picture, "dtype", type(picture).__name__)
    if not isinstance(picture, Tensor) or kind != torch.uint8 or len(shape) != 3 or shape[0] != 3:
        raise ValueError(
            f"{what} must be a uint8 tensor [3, H, W] with values 0 to 255, as read_picture gives; "
            f"found {kind}{'' if shape is None else f' {list(shape)}'}"
        )


def _inverted(values: np.ndarray) -> np.ndarray:
    return -values if values.dtype.kind == "f" else ~values


def _upright(values: np.ndarray, turn: int | None) -> np.ndarray:
    """Turn and mirror as the orientation 1 to 8 of EXIF and TIFF says: [H, W, ...]."""
    values = values.swapaxes(0, 1) if turn in (5, 6, 7, 8) else values
    values = values[:, ::-1] if turn in (2, 3, 6, 7) else values
    return values[::-1] if turn in (3, 4, 7, 8) else values


def grey_levels(values: np.ndarray, name: str) -> np.ndarray:
    """Bring what ``decode`` gives to uint8 [H, W, 3]; see the top of this file.

    Raises:
        ValueError: pixels that are NaN or infinite, or that are no real numbers.
    """
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} has pixels of type {values.dtype}; save it with real numbers")
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        raise ValueError(
            f"{name} has {int((~finite).sum())} pixels that are NaN or infinite; fill them first, "
            "with np.nan_to_num(pixels), say"
        )
    if values.dtype != np.uint8:  # the range is rarely used to the full; single pixels may be hot
        wide = values.astype(np.float32) if values.dtype == np.float16 else values
        low, high = np.percentile(wide, (0.1, 99.9))
        if values.dtype.kind == "f" and low == high:
            low, high = wide.min(), wide.max()
        spread = high - low if values.dtype.kind == "f" and high > low else max(high - low, 1)
        found = np.empty(values.shape, np.uint8)
        for row, line in zip(values, found, strict=True):  # so that little memory is needed
            line[:] = np.clip((row - low) * (255 / spread), 0, 255).round()
        values = found
    return np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values
