"""Files are written whole or not at all; what is downloaded is verified; messages help."""

from __future__ import annotations

import email.message
import errno
import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_helpers import files

CONTENT = bytes(range(256)) * 40
OTHERWISE = "The digits work without it."


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # Its date stays 1980: the bytes name tests, and two processes must give the same names.
        archive.writestr(zipfile.ZipInfo("a.txt"), content)
    return buffer.getvalue()


class Server:
    """Stands in for ``urlopen``: sends ``body``, then stops or raises ``error``."""

    def __init__(self, body=b"", error=None, length=None):
        self.body, self.error, self.length, self.calls = body, error, length, 0

    def __call__(self, url, timeout):
        assert timeout > 0
        self.calls += 1
        self.stream = io.BytesIO(self.body)
        self.headers = email.message.Message()
        if self.length is not None:
            self.headers["Content-Length"] = str(self.length)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def read(self, size):
        chunk = self.stream.read(min(size, 1000))
        if not chunk and self.error is not None:
            raise self.error
        return chunk


# --- folders ---------------------------------------------------------------------------------


def test_data_folder_is_the_chosen_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    assert files.data_folder() == tmp_path
    monkeypatch.setenv("MTL_DATA", "~/somewhere")
    assert files.data_folder() == Path.home() / "somewhere"


@pytest.mark.parametrize("chosen", [None, ""])
def test_folders_without_a_choice_are_in_the_project(monkeypatch, tmp_path, chosen):
    project = tmp_path / "project"
    for folder in ("notebooks", "data", "mtl_helpers", "elsewhere"):
        (project / folder).mkdir(parents=True)
    (project / "data" / "README.md").write_text("about the data")
    monkeypatch.setenv("MTL_DATA", chosen or "")
    if chosen is None:
        monkeypatch.delenv("MTL_DATA")
    # the package lies in the project, whatever the current folder is
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "__file__", str(project / "mtl_helpers" / "files.py"))
    assert files.data_folder() == project / "data" / "downloads"
    assert files.results_folder() == project / "data" / "results"
    # the package is installed elsewhere; the current folder is inside the project
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "mtl_helpers" / "files.py"))
    monkeypatch.chdir(project / "notebooks")
    assert files.results_folder() == project / "data" / "results"
    # no project anywhere: the current folder
    monkeypatch.chdir(tmp_path)
    assert files.data_folder() == tmp_path / "data" / "downloads"


# --- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", CONTENT, "Grüße, 3 × 4\r\n\n"])
def test_write_whole_writes_exactly_that(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file.bin"
    assert files.write_whole(path, content) == path
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file.bin", "folder", "new"]
    files.write_whole(str(path), b"other")
    assert path.read_bytes() == b"other"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_written_files_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        path = files.write_whole(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_content_is_on_the_disk_before_it_gets_its_name(monkeypatch, tmp_path):
    path, calls = tmp_path / "file", []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        calls.append(("fsync", os.fstat(descriptor).st_size, path.exists()))
        real_fsync(descriptor)

    def replace(source, target):
        assert Path(source).parent == Path(target).parent
        calls.append(("replace", Path(source).stat().st_size, path.exists()))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    files.write_whole(path, b"short")
    assert calls == [("fsync", 5, False), ("replace", 5, False)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "bad disk"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(monkeypatch, tmp_path, step, failure):
    path = files.write_whole(tmp_path / "file", b"old")

    def fail(*_):
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(failure)):
        files.write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path):
    path = files.write_whole(tmp_path / "file", b"old")
    with pytest.raises(RuntimeError, match="half way"), files.open_whole(path) as file:
        file.write(b"ne")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_killed_process_leaves_no_half_file_under_the_name(tmp_path):
    path = files.write_whole(tmp_path / "file.json", b"old")
    code = (
        "import os, sys; from mtl_helpers.files import open_whole\n"
        "with open_whole(sys.argv[1]) as file:\n"
        "    file.write(b'ne'); file.flush(); os._exit(9)"
    )
    root = Path(files.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False)
    assert done.returncode == 9
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob("*.json")) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EROFS, "MTL_DATA"),
        (errno.EACCES, "MTL_DATA"),
        (errno.EPERM, "MTL_DATA"),
    ],
)
def test_disk_errors_say_what_to_do(monkeypatch, tmp_path, number, words):
    path = files.write_whole(tmp_path / "file", b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=words) as caught:
        files.write_whole(path, b"new")
    assert caught.value.errno == number
    assert f"{path} was not written" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="the administrator may write everywhere"
)
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match="cannot be written to"):
        files.write_whole(tmp_path / "file", b"x")
    tmp_path.chmod(0o755)
    assert names(tmp_path) == []


def test_a_file_or_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "in_the_way").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    for path in ("in_the_way/file", "in_the_way/deep/file", "folder"):
        with pytest.raises(OSError, match="move it away"):
            files.write_whole(tmp_path / path, b"x")
    assert names(tmp_path) == ["folder", "in_the_way"]
    assert (tmp_path / "in_the_way").read_bytes() == b"kept"


# --- JSON ------------------------------------------------------------------------------------


def test_json_is_canonical(tmp_path):
    path = files.write_json(tmp_path / "a.json", {"z": 1, "a": [0.5, None, True, "é"]})
    expected = '{\n "z": 1,\n "a": [\n  0.5,\n  null,\n  true,\n  "é"\n ]\n}\n'
    assert path.read_bytes() == expected.encode()


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=plain)
def test_json_reads_back_the_same(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    files.write_json(path, value)
    back = json.loads(path.read_text(encoding="utf-8"))
    assert repr(back) == repr(value)  # repr also sees the order of keys and 1 against 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_json_does_not_know(tmp_path, bad):
    path = files.write_json(tmp_path / "a.json", [1])
    with pytest.raises(ValueError, match=r"a\.json was not written.*write None"):
        files.write_json(path, {"score": [1.0, bad]})
    assert json.loads(path.read_text()) == [1]


def test_json_refuses_objects(tmp_path):
    with pytest.raises(TypeError, match=r"a\.json was not written.*tolist"):
        files.write_json(tmp_path / "a.json", {"score": object()})
    assert names(tmp_path) == []


# --- downloading -----------------------------------------------------------------------------


def test_download_by_the_ordinary_opener(tmp_path):
    source = files.write_whole(tmp_path / "there", CONTENT)
    path = files.download(source.as_uri(), tmp_path / "here" / "data.bin")
    assert path == tmp_path / "here" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["data.bin"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_checksum_decides(tmp_path, algorithm):
    path = tmp_path / "data.bin"
    right = hashlib.new(algorithm, CONTENT).hexdigest()
    wrong = hashlib.new(algorithm, b"another").hexdigest()
    with pytest.raises(ValueError, match=f"{right}, expected {wrong}") as caught:
        files.download("http://x/d", path, opener=Server(CONTENT), **{algorithm: wrong})
    assert str(len(CONTENT)) in str(caught.value)
    assert names(tmp_path) == []
    files.download("http://x/d", path, opener=Server(CONTENT), **{algorithm: right.upper()})
    assert path.read_bytes() == CONTENT


def test_both_checksums_must_fit(tmp_path):
    sha256, md5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(b"another").hexdigest()
    with pytest.raises(ValueError, match="md5"):
        files.download("http://x/d", tmp_path / "d", opener=Server(CONTENT), sha256=sha256, md5=md5)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("d.gz", b"", "it is empty"),
        ("d.gz", b"<!DOCTYPE html><html>Please log in</html>", "web page"),
        ("d.bin", b"\n  <HTML><body>404</body></HTML>", "web page"),
        ("d.gz", CONTENT, "not a whole .gz archive"),
        ("d.gz", gzip.compress(CONTENT, mtime=0)[:-5], "not a whole .gz archive"),
        ("d.gz", gzip.compress(CONTENT, mtime=0)[:40], "not a whole .gz archive"),
        ("d.gz", gzip.compress(CONTENT, mtime=0)[:-8] + bytes(8), "not a whole .gz archive"),
        ("d.gz", gzip.compress(CONTENT, mtime=0)[:10] + b"\xff" * 20, "not a whole .gz archive"),
        ("d.zip", zipped(CONTENT)[:-10], "not a whole .zip archive"),
        ("d.zip", zipped(CONTENT).replace(b"\x07\x08\x09", b"\x07\x00\x09"), "a.txt inside"),
    ],
)
def test_what_is_not_the_file_never_looks_like_it(tmp_path, name, body, words):
    with pytest.raises(ValueError, match=words) as caught:
        files.download("http://x/d", tmp_path / name, opener=Server(body), otherwise=OTHERWISE)
    message = str(caught.value)
    assert message.startswith(f"the download of {name} was refused")
    assert "http://x/d" in message
    assert str(tmp_path / name) in message
    assert message.endswith(OTHERWISE)
    assert names(tmp_path) == []


@pytest.mark.parametrize("body", [gzip.compress(CONTENT, mtime=0), zipped(CONTENT)])
def test_sound_archives_pass(tmp_path, body):
    path = tmp_path / ("d.gz" if body[:2] == b"\x1f\x8b" else "d.zip")
    files.download("http://x/d", path, opener=Server(body, length=len(body)))
    assert path.read_bytes() == body
    assert files.what_is_wrong(path) is None


@pytest.mark.parametrize(
    "server",
    [
        Server(error=urllib.error.URLError("Name or service not known")),
        Server(error=urllib.error.HTTPError("http://x/d", 404, "Not Found", None, None)),
        Server(error=TimeoutError("timed out")),
        Server(CONTENT, error=ConnectionResetError(errno.ECONNRESET, "reset")),
        Server(CONTENT, error=http.client.IncompleteRead(b"")),
        Server(CONTENT, length=len(CONTENT) + 1),
    ],
)
def test_no_network_is_said_in_one_place(tmp_path, server):
    with pytest.raises(ConnectionError) as caught:
        files.download("http://x/d", tmp_path / "d.gz", opener=server, otherwise=OTHERWISE)
    message = str(caught.value)
    assert message.startswith("d.gz is missing and could not be downloaded (")
    assert f"get http://x/d by other means and put it at {tmp_path / 'd.gz'}." in message
    assert message.endswith(OTHERWISE)
    assert "\n" not in message
    assert names(tmp_path) == []


def test_a_sound_file_is_not_fetched_again_and_a_broken_one_is(tmp_path):
    md5, server = hashlib.md5(CONTENT).hexdigest(), Server(CONTENT)
    path = files.write_whole(tmp_path / "d.bin", CONTENT)
    files.download("http://x/d", path, md5=md5, opener=server)
    assert server.calls == 0
    files.write_whole(path, CONTENT[:-1])
    files.download("http://x/d", path, md5=md5, opener=server)
    assert server.calls == 1
    assert path.read_bytes() == CONTENT


def test_a_failed_download_leaves_the_old_file(tmp_path):
    path = files.write_whole(tmp_path / "d.gz", b"not an archive")
    with pytest.raises(ConnectionError):
        files.download("http://x/d", path, opener=Server(error=TimeoutError()))
    with pytest.raises(KeyboardInterrupt):
        files.download("http://x/d", path, opener=Server(CONTENT, error=KeyboardInterrupt()))
    assert path.read_bytes() == b"not an archive"
    assert names(tmp_path) == ["d.gz"]


def test_a_full_disk_while_downloading_is_not_called_a_network_error(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="disk is full") as caught:
        files.download("http://x/d", tmp_path / "d", opener=Server(CONTENT, error=full))
    assert not isinstance(caught.value, ConnectionError)
    assert names(tmp_path) == []
