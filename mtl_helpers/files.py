"""Where data and results live, and files that are written whole or not at all.

A file is written under another name in the same folder, forced to the disk, and renamed at the
end: a killed run, a full disk or a lost network never leaves half a file under a trusted name.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.client
import json
import os
import secrets
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 1 << 20  # bytes
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)
_FULL = "the disk is full; free some room and try again"
_FORBIDDEN = "the folder cannot be written to; choose another one (for data: set MTL_DATA)"
_IN_THE_WAY = "a file stands where a folder is needed, or the reverse; move it away"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _FORBIDDEN),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), _IN_THE_WAY),
}


def data_folder() -> Path:
    """Give the folder for real data sets: ``$MTL_DATA``, else ``data/downloads`` of the project."""
    chosen = os.environ.get("MTL_DATA")
    return Path(chosen).expanduser() if chosen else _project_folder() / "data" / "downloads"


def results_folder() -> Path:
    """Give the folder of the recorded runs, ``data/results`` of the project."""
    return _project_folder() / "data" / "results"


def embedded_folder() -> Path:
    """Give the folder of the small data sets that come with the project, ``data``."""
    return _project_folder() / "data"


def _project_folder() -> Path:
    """Find the project: around this package, else from the current folder upwards, else here."""
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[1], here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "data" / "README.md").is_file():
            return folder
    return here


def as_path(path: str | Path) -> Path:
    """Give a path with ``~`` replaced by the home folder.

    Raises:
        ValueError: it is empty, or names the home of somebody who is not known here.
    """
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}; write the folder out") from error
    if not found.name:
        raise ValueError(f"a file name is needed; found {str(path)!r}")
    return found


@contextmanager
def open_whole(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends well.

    Args:
        path: where the file shall be; missing folders are made. ``~`` is the home folder, and
            where a link stands, the file that it points to is written.

    Yields:
        A binary file under a temporary name in the same folder.

    Raises:
        OSError: the disk is full, the folder is read-only, and the like; the message says what
            to do. What stood at ``path`` before is untouched then.
    """
    path = as_path(path)
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        message = f"{path} was not written: {_ADVICE[error.errno]}"
        raise OSError(error.errno, message) from error
    finally:
        with suppress(OSError):  # it is gone when all went well
            temporary.unlink()


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write bytes, or text as UTF-8, whole or not at all; give the path.

    Raises:
        OSError: see :func:`open_whole`.
    """
    with open_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return as_path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as JSON in one canonical form: order kept, indent 1, a final newline.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
        TypeError: something is not a plain dictionary, list, text, number, truth value or None.
        OSError: see :func:`open_whole`.
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        advice = "JSON has no NaN and no infinity: write None, and say why"
        raise ValueError(f"{path} was not written: {error}. {advice}") from error
    except TypeError as error:
        advice = "Use plain numbers and lists: tensor.tolist()"
        raise TypeError(f"{path} was not written: {error}. {advice}") from error
    return write_whole(path, text + "\n")


def what_is_wrong(
    path: Path, *, sha256: str | None = None, md5: str | None = None, suffix: str | None = None
) -> str | None:
    """Say what is wrong with a data file, or None when it is whole.

    Args:
        path: the file.
        sha256: the checksum it must have, in hexadecimal digits.
        md5: the same for MD5, for sources that publish no better one.
        suffix: of the final name, where ``path`` has a temporary one. Without a checksum, a
            ``.gz`` or ``.zip`` file is read through.
    """
    with open(path, "rb") as file:
        start = file.read(1024).lower()
    if not start:
        return "it is empty"
    if b"<html" in start or b"<!doctype html" in start:
        return "it is a web page, not data (a log-in page or a proxy answered instead)"
    if sha256 is None and md5 is None:
        return _damage(path, suffix or path.suffix)
    for algorithm, expected in (("sha256", sha256), ("md5", md5)):
        if expected is not None and (found := _checksum(path, algorithm)) != expected.lower():
            size = path.stat().st_size
            return (
                f"its {algorithm} is {found}, expected {expected} "
                f"({size} bytes: cut off, damaged, or another file)"
            )
    return None


def _checksum(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _damage(path: Path, suffix: str) -> str | None:
    """Read an archive through: a cut-off one shows it at its end."""
    try:
        if suffix == ".gz":
            with gzip.open(path) as archive:
                while archive.read(_CHUNK):
                    pass
        elif suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            return None if bad is None else f"{bad} inside it is damaged"
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        return f"it is not a whole {suffix} archive ({error})"
    return None


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    otherwise: str = "",
    opener: Callable[..., Any] = urllib.request.urlopen,
) -> Path:
    """Fetch a file unless it is there; what arrives is verified before it gets its name.

    Args:
        url: where it comes from.
        path: where it goes. A sound file there is kept, a broken one replaced.
        sha256: the checksum it must have: see :func:`what_is_wrong`.
        md5: the same for MD5.
        otherwise: a sentence that says what works without this file, for the messages.
        opener: called as ``opener(url, timeout=seconds)``; tests pass their own.

    Returns:
        The path.

    Raises:
        ConnectionError: there is no network, or the server does not answer.
        ValueError: what came is not the file: cut off, a web page, another checksum.
        OSError: see :func:`open_whole`.
    """
    path = as_path(path)
    if path.is_file() and what_is_wrong(path, sha256=sha256, md5=md5) is None:
        return path
    advice = f"With a network, try again; or get {url} by other means and put it at {path}"
    advice = f"{advice}. {otherwise}".strip()
    with open_whole(path) as file:
        try:
            _copy(url, file, opener)
        except _NETWORK_ERRORS as error:
            problem = f"{path.name} is missing and could not be downloaded ({error})"
            raise ConnectionError(f"{problem}. {advice}") from error
        file.flush()
        wrong = what_is_wrong(Path(file.name), sha256=sha256, md5=md5, suffix=path.suffix)
        if wrong is not None:
            raise ValueError(f"the download of {path.name} was refused: {wrong}. {advice}")
    return path


def _copy(url: str, file: BinaryIO, opener: Callable[..., Any]) -> None:
    """Copy what the server sends, and notice when it stops early."""
    with opener(url, timeout=60) as response:
        expected = response.headers.get("Content-Length")
        while chunk := response.read(_CHUNK):
            file.write(chunk)
    if expected is not None and file.tell() != int(expected):
        raise ConnectionError(f"the connection broke after {file.tell()} of {expected} bytes")
