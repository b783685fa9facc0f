import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import xxhash

from napari_promptable.errors import CancelledError, CheckpointError, UnknownModelError
from napari_promptable.weights import checkpoints
from napari_promptable.weights.checkpoints import (
    checkpoint_folder,
    checkpoint_path,
    fetch_checkpoint,
    is_downloaded,
    verify_checkpoint,
)
from napari_promptable.weights.registry import MODELS, ModelSpec

CHUNK = 1000
WEIGHTS = random.Random(0).randbytes(10 * CHUNK + 7)
OTHER_WEIGHTS = random.Random(1).randbytes(len(WEIGHTS))
SHA256 = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
XXH128 = f"xxh128:{xxhash.xxh128(WEIGHTS).hexdigest()}"


@dataclass
class Page:
    """The server's answer for one path."""

    content: bytes = WEIGHTS
    status: int = 200
    content_type: str = "application/octet-stream"
    with_ranges: bool = True
    with_length: bool = True
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of a body the connection is cut, one for each request."""


class WeightsServer(ThreadingHTTPServer):
    """A local server that records its requests."""

    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WeightsRequestHandler)
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.request_arrived = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, page: Page) -> str:
        """Serve a page; returns its address."""
        self.pages[path] = page
        return self.address + path


class WeightsRequestHandler(BaseHTTPRequestHandler):
    server: WeightsServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        self.server.request_arrived.set()
        assert self.server.may_answer.wait(timeout=30)
        page = self.server.pages.get(urlsplit(self.path).path, Page(b"", status=404))
        start, status = 0, page.status
        if page.with_ranges and self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(page.content) else 416
        body = page.content[start:]
        self.send_response(status)
        self.send_header("Content-Type", page.content_type)
        if page.with_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the client may have cancelled
            self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ignore the developer's proxies; use a folder of the test's own and small chunks."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checkpoints, "_CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(checkpoints, "_WAIT_S", 0.01)


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    """A running server without pages."""
    with WeightsServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port_url() -> str:
    """An address where nothing answers."""
    with WeightsServer() as server:
        return f"{server.address}/weights.pt"


@pytest.fixture
def add_model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Factory of a model "toy" with given addresses; returns where its file belongs."""

    def add(*urls: str, expected: str = SHA256, size_bytes: int | None = len(WEIGHTS)) -> Path:
        spec = ModelSpec(
            "toy",
            "vit_t",
            urls,
            "toy.pt",
            size_bytes,
            expected,
            "CC0-1.0",
            "the authors",
            "for tests",
        )
        monkeypatch.setitem(MODELS, "toy", spec)
        return checkpoint_path("toy")

    return add


def put(path: Path, content: bytes) -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files_in_folder() -> list[str]:
    """Visible files in the weights folder."""
    return sorted(p.name for p in checkpoint_folder().iterdir() if not p.name.startswith("."))


# --- where files are


def test_folder_is_in_the_cache_of_the_environment(tmp_path: Path) -> None:
    assert checkpoint_folder() == tmp_path / "cache" / "checkpoints"


def test_folder_is_the_platforms_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("NAPARI_PROMPTABLE_CACHE")
        else:
            monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", value)
        assert checkpoint_folder().is_absolute()
        assert checkpoint_folder().parts[-2:] == ("napari-promptable", "checkpoints")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", os.path.join("~", "weights"))
    assert checkpoint_folder() == Path.home() / "weights" / "checkpoints"


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    assert [name for name in MODELS if is_downloaded(name) and name != "tiny"] == []
    assert list(tmp_path.iterdir()) == []


def test_bundled_file_is_in_the_package() -> None:
    package = Path(checkpoints.__file__).parents[1]
    assert checkpoint_path("tiny") == package / "assets/tiny.safetensors"


def test_file_is_downloaded_when_it_is_there(add_model: Callable[..., Path]) -> None:
    path = add_model()
    assert not is_downloaded("toy")
    put(path, b"")
    assert is_downloaded("toy")


@pytest.mark.parametrize("function", [checkpoint_path, is_downloaded, fetch_checkpoint])
def test_unknown_name_is_refused(function: Callable[[str], object]) -> None:
    with pytest.raises(UnknownModelError, match="vit_x"):
        function("vit_x")


def test_import_loads_neither_torch_nor_network() -> None:
    code = (
        "import sys, napari_promptable.weights.checkpoints; "
        "print({'torch', 'numpy', 'pooch', 'requests'} & set(sys.modules))"
    )
    source = str(Path(checkpoints.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "set()"


# --- verifying


@pytest.mark.parametrize("expected", [SHA256, XXH128], ids=["sha256", "xxh128"])
def test_intact_file_is_verified(
    expected: str, add_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = put(add_model(expected=expected), WEIGHTS)
    elsewhere = put(tmp_path / "renamed.bin", WEIGHTS)
    assert verify_checkpoint(path) is MODELS["toy"]
    assert verify_checkpoint(str(elsewhere)) is MODELS["toy"]
    assert verify_checkpoint(elsewhere, MODELS["toy"]) is MODELS["toy"]


@pytest.mark.parametrize("expected", [SHA256, XXH128], ids=["sha256", "xxh128"])
def test_other_content_is_refused_with_both_hashes(
    expected: str, add_model: Callable[..., Path]
) -> None:
    path = put(add_model(expected=expected), OTHER_WEIGHTS)
    algorithm = expected.partition(":")[0]
    found = (hashlib.sha256 if algorithm == "sha256" else xxhash.xxh128)(OTHER_WEIGHTS)
    for spec in (None, MODELS["toy"]):
        with pytest.raises(CheckpointError) as info:
            verify_checkpoint(path, spec)
        for text in (str(path), "'toy'", expected, f"{algorithm}:{found.hexdigest()}", "again"):
            assert text in str(info.value)


def test_file_that_changes_is_hashed_again(add_model: Callable[..., Path]) -> None:
    path = put(add_model(), WEIGHTS)
    verify_checkpoint(path)
    path.write_bytes(OTHER_WEIGHTS)
    os.utime(path, ns=(0, 0))
    with pytest.raises(CheckpointError, match="damaged"):
        verify_checkpoint(path)


def test_unknown_file_is_no_model(tmp_path: Path) -> None:
    assert verify_checkpoint(put(tmp_path / "own.pt", b"own")) is None


def test_user_may_call_a_file_like_the_bundled_one(tmp_path: Path) -> None:
    assert verify_checkpoint(put(tmp_path / "tiny.safetensors", b"own")) is None


def test_bundled_file_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoints, "_ASSETS", tmp_path)
    path = put(tmp_path / "tiny.safetensors", b"weights")
    assert verify_checkpoint(path) is MODELS["tiny"]
    assert fetch_checkpoint("tiny") == path


def test_missing_bundled_file_asks_for_reinstallation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoints, "_ASSETS", tmp_path)
    with pytest.raises(CheckpointError, match="Install napari-promptable again"):
        fetch_checkpoint("tiny")


def test_missing_file_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file"):
        verify_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="There is no file"):
        verify_checkpoint(tmp_path)


def test_unreadable_file_cannot_be_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoints, "_compute_hash", refuse)
    with pytest.raises(CheckpointError, match="Permission denied.*permissions"):
        verify_checkpoint(put(tmp_path / "own.pt", b"own"))


# --- fetching


@pytest.mark.parametrize("expected", [SHA256, XXH128], ids=["sha256", "xxh128"])
def test_file_is_downloaded(
    expected: str, server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page()), expected=expected)
    assert fetch_checkpoint("toy") == path
    assert path.read_bytes() == WEIGHTS
    assert files_in_folder() == ["toy.pt"]


def test_file_is_downloaded_once(server: WeightsServer, add_model: Callable[..., Path]) -> None:
    add_model(server.add("/weights", Page()))
    assert fetch_checkpoint("toy") == fetch_checkpoint("toy")
    assert len(server.requests) == 1


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("size_bytes", [len(WEIGHTS), None])
def test_progress_counts_bytes(
    with_length: bool,
    size_bytes: int | None,
    server: WeightsServer,
    add_model: Callable[..., Path],
) -> None:
    url = server.add("/weights", Page(with_length=with_length))
    add_model(url, size_bytes=size_bytes)
    reports: list[tuple[int, int | None]] = []
    fetch_checkpoint("toy", progress=lambda *report: reports.append(report))
    done = [done for done, _ in reports]
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == len(WEIGHTS)
    total = len(WEIGHTS) if with_length else size_bytes
    assert {total for _, total in reports} == {total}


def test_file_put_there_by_hand_needs_no_network(
    closed_port_url: str, add_model: Callable[..., Path]
) -> None:
    path = put(add_model(closed_port_url), WEIGHTS)
    assert fetch_checkpoint("toy") == path


def test_damaged_file_put_there_by_hand_is_refused_and_kept(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = put(add_model(server.add("/weights", Page())), OTHER_WEIGHTS)
    with pytest.raises(CheckpointError, match="damaged"):
        fetch_checkpoint("toy")
    assert path.read_bytes() == OTHER_WEIGHTS
    assert server.requests == []


def test_mirror_is_used_when_a_file_has_moved(
    server: WeightsServer, closed_port_url: str, add_model: Callable[..., Path]
) -> None:
    path = add_model(
        f"{server.address}/moved",
        closed_port_url,
        server.add("/altered", Page(OTHER_WEIGHTS)),
        server.add("/login", Page(b"<html>", content_type="text/html; charset=utf-8")),
        server.add("/mirror", Page()),
    )
    fetch_checkpoint("toy")
    assert path.read_bytes() == WEIGHTS
    assert [path for path, _ in server.requests] == ["/moved", "/altered", "/login", "/mirror"]
    assert files_in_folder() == ["toy.pt"]


def test_failure_says_what_was_tried_and_what_to_do(
    server: WeightsServer, closed_port_url: str, add_model: Callable[..., Path]
) -> None:
    urls = (
        f"{server.address}/moved",
        closed_port_url,
        server.add("/altered", Page(OTHER_WEIGHTS)),
        server.add("/login", Page(b"<html>", content_type="text/html")),
    )
    add_model(*urls)
    with pytest.raises(CheckpointError) as info:
        fetch_checkpoint("toy")
    message = str(info.value)
    reasons = ("404 Not Found", "refused", "has the hash sha256:", "web page")
    for text in (*urls, *reasons, "'toy'", "toy.pt", str(len(WEIGHTS)), SHA256):
        assert text in message
    assert message.endswith(f"in {checkpoint_folder()}.")
    assert "\n" not in message
    assert files_in_folder() == []


def test_failure_without_known_size_gives_none(
    closed_port_url: str, add_model: Callable[..., Path]
) -> None:
    add_model(closed_port_url, size_bytes=None)
    with pytest.raises(CheckpointError, match=rf"toy\.pt \({SHA256}\)"):
        fetch_checkpoint("toy")


def test_address_that_is_none_is_reported(add_model: Callable[..., Path]) -> None:
    add_model("nonsense://")
    with pytest.raises(CheckpointError, match="nonsense:// "):
        fetch_checkpoint("toy")


# --- resuming


def test_cut_download_goes_on_where_it_was(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page(cuts=[3 * CHUNK, 2 * CHUNK])))
    done: list[int] = []
    fetch_checkpoint("toy", progress=lambda n, _: done.append(n))
    assert path.read_bytes() == WEIGHTS
    asked_for = [header for _, header in server.requests]
    assert asked_for == [None, f"bytes={3 * CHUNK}-", f"bytes={5 * CHUNK}-"]
    assert done == sorted(done)


def test_cut_download_starts_over_if_the_server_sends_all(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page(with_ranges=False, cuts=[3 * CHUNK])))
    fetch_checkpoint("toy")
    assert path.read_bytes() == WEIGHTS
    assert len(server.requests) == 2


def test_server_that_is_always_cut_at_the_same_place_is_given_up(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    page = Page(with_ranges=False, cuts=[3 * CHUNK] * 99)
    path = add_model(server.add("/weights", page), server.add("/mirror", Page()))
    fetch_checkpoint("toy")
    assert path.read_bytes() == WEIGHTS
    assert [path for path, _ in server.requests] == ["/weights", "/weights", "/mirror"]


def test_number_of_tries_is_bounded_and_a_later_call_goes_on(
    server: WeightsServer, add_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_MAX_TRIES", 3)
    path = add_model(server.add("/weights", Page(cuts=[2 * CHUNK] * 3)))
    with pytest.raises(CheckpointError, match="lost 3 times"):
        fetch_checkpoint("toy")
    assert files_in_folder() == ["toy.pt.part"]
    assert not is_downloaded("toy")
    assert fetch_checkpoint("toy").read_bytes() == WEIGHTS
    assert server.requests[-1][1] == f"bytes={6 * CHUNK}-"
    assert path.read_bytes() == WEIGHTS


def test_lost_connection_keeps_the_part(
    server: WeightsServer, closed_port_url: str, add_model: Callable[..., Path]
) -> None:
    path = add_model(closed_port_url)
    part = put(path.with_name("toy.pt.part"), WEIGHTS[:CHUNK])
    with pytest.raises(CheckpointError, match="refused"):
        fetch_checkpoint("toy")
    assert part.read_bytes() == WEIGHTS[:CHUNK]


def test_login_page_keeps_the_part(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    login = Page(b"<html>", content_type="text/html", with_ranges=False)
    path = add_model(server.add("/login", login))
    part = put(path.with_name("toy.pt.part"), WEIGHTS[:CHUNK])
    with pytest.raises(CheckpointError, match="web page"):
        fetch_checkpoint("toy")
    assert part.read_bytes() == WEIGHTS[:CHUNK]


@pytest.mark.parametrize("with_ranges", [True, False])
@pytest.mark.parametrize(
    "part",
    [
        b"",
        WEIGHTS[:1],
        WEIGHTS[:-1],
        WEIGHTS,
        WEIGHTS + b"more",
        OTHER_WEIGHTS[: 4 * CHUNK],
        OTHER_WEIGHTS,
    ],
    ids=["empty", "start", "nearly all", "all", "too much", "wrong start", "wrong file"],
)
def test_any_part_left_over_ends_well(
    part: bytes, with_ranges: bool, server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page(with_ranges=with_ranges)))
    put(path.with_name("toy.pt.part"), part)
    assert fetch_checkpoint("toy").read_bytes() == WEIGHTS
    assert files_in_folder() == ["toy.pt"]
    assert len(server.requests) <= 2


# --- cancelling, waiting, writing


def test_cancelled_download_leaves_nothing(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    add_model(server.add("/weights", Page()), server.add("/mirror", Page()))
    done: list[int] = []
    with pytest.raises(CancelledError, match="'toy'"):
        fetch_checkpoint("toy", lambda n, _: done.append(n), lambda: len(done) >= 2)
    assert len(done) == 2
    assert files_in_folder() == []
    assert len(server.requests) == 1
    assert fetch_checkpoint("toy").read_bytes() == WEIGHTS


def test_download_cancelled_before_it_starts_asks_no_server(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    add_model(server.add("/weights", Page()))
    with pytest.raises(CancelledError):
        fetch_checkpoint("toy", is_cancelled=lambda: True)
    assert server.requests == []


def test_interrupted_download_can_go_on(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    add_model(server.add("/weights", Page()))

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_checkpoint("toy", progress=interrupt)
    assert files_in_folder() == ["toy.pt.part"]
    assert fetch_checkpoint("toy").read_bytes() == WEIGHTS
    assert server.requests[-1][1] is not None


def test_second_caller_waits_for_the_first(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page()))
    server.may_answer.clear()
    second_waits = threading.Event()

    def note_waiting() -> bool:
        second_waits.set()
        return False

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch_checkpoint, "toy")
        assert server.request_arrived.wait(timeout=30)
        second = pool.submit(fetch_checkpoint, "toy", is_cancelled=note_waiting)
        assert second_waits.wait(timeout=30)
        server.may_answer.set()
        assert first.result() == second.result() == path
    assert len(server.requests) == 1


def test_waiting_can_be_cancelled(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    path = add_model(server.add("/weights", Page()))
    server.may_answer.clear()
    answers = iter([False, False, True])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch_checkpoint, "toy")
        assert server.request_arrived.wait(timeout=30)
        with pytest.raises(CancelledError):
            fetch_checkpoint("toy", is_cancelled=lambda: next(answers))
        server.may_answer.set()
        assert first.result() == path


def test_folder_that_cannot_be_made_is_reported(
    add_model: Callable[..., Path], closed_port_url: str, tmp_path: Path
) -> None:
    path = add_model(closed_port_url)
    put(tmp_path / "cache", b"a file where the folder should be")
    with pytest.raises(CheckpointError, match="NAPARI_PROMPTABLE_CACHE") as info:
        fetch_checkpoint("toy")
    assert str(path) in str(info.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is of Linux")
def test_full_disk_is_reported_and_the_part_removed(
    server: WeightsServer, add_model: Callable[..., Path]
) -> None:
    page = Page(WEIGHTS * 20)
    path = add_model(server.add("/weights", page), server.add("/mirror", page))
    path.parent.mkdir(parents=True)
    path.with_name("toy.pt.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="No space left.*Make room"):
        fetch_checkpoint("toy")
    assert files_in_folder() == []
    assert len(server.requests) == 1


# --- settings of the network


def test_proxy_of_the_environment_is_used(
    server: WeightsServer, add_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.address)
    server.add("/weights", Page())
    add_model("http://weights.invalid/weights")
    assert fetch_checkpoint("toy").read_bytes() == WEIGHTS
    assert server.requests == [("http://weights.invalid/weights", None)]


def test_proxy_that_is_not_there_is_reported(
    closed_port_url: str, add_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed_port_url)
    add_model("http://weights.invalid/weights")
    with pytest.raises(CheckpointError, match="ProxyError: .*refused"):
        fetch_checkpoint("toy")


def test_certificates_of_the_environment_are_used(
    add_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "company.pem"))
    add_model("https://127.0.0.1:1/weights")
    with pytest.raises(CheckpointError, match=r"company\.pem"):
        fetch_checkpoint("toy")
