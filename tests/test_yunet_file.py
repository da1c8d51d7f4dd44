"""YuNet's file is had once, from a server, and only if it is the pinned one."""

import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from emotion import yunet_file as module
from emotion.errors import DetectorError
from emotion.yunet_file import FILES, cache_dir, find_yunet, local_yunet

NAME = next(iter(FILES))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and keeps what is asked of it."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    folder = tmp_path / "zoo"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as served:
        served.requests = []  # type: ignore[attr-defined]
        served.folder = folder  # type: ignore[attr-defined]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def source(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/"


@pytest.fixture(autouse=True)
def fresh_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and a process that has asked nobody; only the local server is named."""
    monkeypatch.delenv("EMOTION_OFFLINE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_refusals", {})


def serve(server: ThreadingHTTPServer, data: bytes, name: str = NAME) -> None:
    (server.folder / name).write_bytes(data)  # type: ignore[attr-defined]


def test_right_file_is_stored_and_used_again(
    server: ThreadingHTTPServer, source: str, yunet_file: Path
) -> None:
    serve(server, yunet_file.read_bytes())
    path = find_yunet(source=source)
    assert path == cache_dir() / NAME
    assert path.read_bytes() == yunet_file.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [NAME]  # no half-written file stays
    assert find_yunet(source=source) == path
    assert local_yunet() == path
    assert len(server.requests) == 1  # type: ignore[attr-defined]


def test_threads_ask_once(server: ThreadingHTTPServer, source: str, yunet_file: Path) -> None:
    serve(server, yunet_file.read_bytes())
    threads = [threading.Thread(target=find_yunet, kwargs={"source": source}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1  # type: ignore[attr-defined]


def test_wrong_bytes_are_refused(
    server: ThreadingHTTPServer, source: str, yunet_file: Path
) -> None:
    serve(server, yunet_file.read_bytes()[:-1] + b"x")
    with pytest.raises(DetectorError, match=r"not the pinned one|could not be downloaded"):
        find_yunet(source=source)
    assert not cache_dir().exists()


def test_damaged_copy_in_the_cache_is_fetched_again(
    server: ThreadingHTTPServer, source: str, yunet_file: Path
) -> None:
    serve(server, yunet_file.read_bytes())
    cache_dir().mkdir(parents=True)
    (cache_dir() / NAME).write_bytes(b"cut off")
    assert local_yunet() is None
    assert find_yunet(source=source).read_bytes() == yunet_file.read_bytes()


def test_absent_file_is_asked_for_only_once(server: ThreadingHTTPServer, source: str) -> None:
    for _ in range(3):
        with pytest.raises(DetectorError, match="404"):
            find_yunet(source=source)
    assert server.requests == [f"/{name}" for name in FILES]  # type: ignore[attr-defined]


def test_server_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in FILES:
                connection, _address = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DetectorError, match="could not be downloaded"):
            find_yunet(source=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DetectorError, match="could not be downloaded"):
        find_yunet(source=f"http://127.0.0.1:{port}/")


def test_cache_that_cannot_be_written(
    server: ThreadingHTTPServer,
    source: str,
    yunet_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(server, yunet_file.read_bytes())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DetectorError, match="cannot be kept"):
        find_yunet(source=source)


def test_offline_asks_nobody(
    server: ThreadingHTTPServer, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOTION_OFFLINE", "1")
    with pytest.raises(DetectorError, match="EMOTION_OFFLINE is set"):
        find_yunet(source=source)
    assert not server.requests  # type: ignore[attr-defined]


def test_paths_that_the_user_names(
    yunet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_yunet(yunet_file) == yunet_file
    monkeypatch.setenv("EMOTION_YUNET", str(yunet_file))
    assert find_yunet() == yunet_file
    with pytest.raises(DetectorError, match=r"no YuNet file .*absent\.onnx"):
        find_yunet(tmp_path / "absent.onnx")
    monkeypatch.setenv("EMOTION_YUNET", str(tmp_path))
    with pytest.raises(DetectorError, match="no YuNet file"):
        find_yunet()
