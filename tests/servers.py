"""Real servers on loopback for stores elsewhere: S3 by moto, and plain HTTP with parts of files and with tricks."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

KEY, SECRET = "AKIDLOOPBACK", "wJal/SECRET/loopback"
BUCKET = "lab"


# ---- S3


_ACCOUNT = "123456789012"  # that moto takes any key to be of


@dataclass
class Bucket:
    """A bucket of a server of S3 in this process.

    `asked` holds method and path of each request. `answers`, asked first, may give a status in place of an answer.
    """

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    answers: Callable[[str, str], int | None] = lambda method, path: None

    def address(self, key: str) -> str:
        return f"s3://{BUCKET}/{key}"

    def files(self, prefix: str) -> dict[str, bytes]:
        """Content of all objects below a prefix, by their names below it."""
        keys = _backend().buckets[BUCKET].keys.items()
        return {
            name.removeprefix(f"{prefix}/"): bytes(key.value)
            for name, key in keys
            if name.startswith(f"{prefix}/")
        }

    def put(self, key: str, content: bytes) -> None:
        _backend().put_object(BUCKET, key, content)

    def remove(self, key: str) -> None:
        _backend().delete_object(BUCKET, key)

    def disguise(self, key: str) -> None:
        """Give an object a tag that is no MD5 of it, as servers do that encrypt."""
        _backend().buckets[BUCKET].keys[key]._etag = "0" * 32

    def upload(self, folder: Path, prefix: str) -> str:
        """Put a folder's files there without the help of what is tested; gives the address."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return self.address(prefix)

    def count(self, method: str) -> int:
        return sum(asked[0] == method for asked in self.asked)


def _backend() -> Any:
    from moto.s3.models import s3_backends

    return s3_backends[_ACCOUNT]["aws"]


@contextmanager
def s3_server() -> Iterator[Bucket]:
    """Run a server with an empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would tell each request on stderr
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Bucket(f"http://{host}:{port}")
    application = server._server.app

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        bucket.asked.append((method, path))
        status = bucket.answers(method, path)
        if status is None:
            return application(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = b"<Error><Code>Told</Code><Message>said\nby the server</Message></Error>"
        start_response(f"{status} Told", [("Content-Length", str(len(body)))])
        return [body]

    server._server.app = answer
    try:
        _backend().create_bucket(BUCKET, "us-east-1")
        yield bucket
    finally:
        server.stop()
        server._server.server_close()
        _backend().reset()


def environment(url: str) -> dict[str, str]:
    """Variables that lead a client to a server on loopback."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
    }


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)


# ---- plain HTTP


class Handler(BaseHTTPRequestHandler):
    """Serves files of a folder, whole or in part."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        with self.served.lock:
            self.served.asked.append((path, self.headers.get("Range", "")))
            waiting = self.served.tricks.get(path, [])
            trick = waiting.pop(0) if waiting else self.served.always.get(path)
        try:
            if trick is not None:
                trick(self, path)
            else:
                self.serve(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def serve(
        self,
        path: str,
        *,
        ranges: bool = True,
        cut_after: int | None = None,
        content: bytes | None = None,
        shifted: int = 0,
    ) -> None:
        if content is None:
            file = self.served.folder / path
            if not file.is_file():
                self.answer(404)
                return
            content = file.read_bytes()
        tag = hashlib.md5(content).hexdigest()
        status, body, headers = 200, content, {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and ranges:
            first, last = asked.groups()
            if first:
                begin, end = int(first), min(int(last or len(content) - 1), len(content) - 1) + 1
            else:
                begin, end = max(0, len(content) - int(last)), len(content)
            if begin >= len(content):
                self.answer(416)
                return
            status, body = 206, content[begin:end]
            headers["Content-Range"] = f"bytes {begin + shifted}-{end - 1 + shifted}/{len(content) + shifted}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after is not None and cut_after < len(body):
            self.wfile.write(body[:cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def answer(self, status: int) -> None:
        body = b"said by the server\nin lines\x1b[31m"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


Trick = Callable[[Handler, str], None]


@dataclass
class Served:
    """A folder that is served; `tricks` by path are used up one a request, `always` are not."""

    folder: Path
    url: str = ""
    tricks: dict[str, list[Trick]] = field(default_factory=dict)
    always: dict[str, Trick] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def status(code: int) -> Trick:
    return lambda handler, path: handler.answer(code)


def cut(after: int) -> Trick:
    """Hang up after some bytes."""
    return lambda handler, path: handler.serve(path, cut_after=after)


def whole_only(handler: Handler, path: str) -> None:
    """Give the whole file, whatever part is asked for."""
    handler.serve(path, ranges=False)


def silent(stop: threading.Event) -> Trick:
    """Say nothing until the test is over."""
    return lambda handler, path: (stop.wait(20), handler.answer(500))[-1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def http_server(folder: Path) -> Iterator[Served]:
    """Serve a folder."""
    served = Served(folder)
    with _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"served": served})) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
