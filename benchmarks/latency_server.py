"""A lean server of a folder on loopback, as S3 and as plain HTTP, that lets every answer wait.

    python benchmarks/latency_server.py FOLDER --delay 0.02

It prints its port and runs until it is stopped. `/lab/x.zarr/...` (S3, bucket lab, path style) and `/x.zarr/...` are
the same files. GET, whole or by one range, and HEAD; credentials are not looked at. Nothing is written.

Answers wait side by side, as those of a far server do: a delay costs this process nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import unquote

BUCKET = "lab"
_REQUEST = re.compile(rb"(GET|HEAD) /([^ ?]*)[^ ]* HTTP/1\.1\r\n")
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d*)-(\d*)", re.IGNORECASE)
_MISSING = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>'


class Answers(asyncio.Protocol):
    """One connection: a request at a time, each answered after the delay."""

    def __init__(self, folder: Path, delay: float) -> None:
        self.folder, self.delay = folder, delay
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers go to."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1 << 26)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take requests, and have each answered after the delay."""
        self.received += data
        while b"\r\n\r\n" in self.received:
            request, _, self.received = self.received.partition(b"\r\n\r\n")
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.answer, request)
            else:
                self.answer(request)

    def answer(self, request: bytes) -> None:
        """Find what is asked for."""
        if self.transport.is_closing():
            return
        asked = _REQUEST.match(request + b"\r\n")
        if asked is None:
            self.write(501, [], b"", head=False)
            return
        head = asked[1] == b"HEAD"
        name = unquote(asked[2].decode()).removeprefix(f"{BUCKET}/")
        found = opened(self.folder, name)
        if found is None:
            self.write(404, ["Content-Type: application/xml"], _MISSING, head=head)
            return
        descriptor, size, stamp, changed = found
        lines = [f'ETag: "{stamp}"', f"Last-Modified: {changed}", "Accept-Ranges: bytes"]
        part = _RANGE.search(request)
        begin, end = 0, size
        if part is not None:
            first, last = part.groups()
            if first:
                begin, end = int(first), min(int(last or size), size - 1) + 1
            else:
                begin = max(0, size - int(last))
            if begin >= size:
                self.write(416, [f"Content-Range: bytes */{size}"], b"", head=head)
                return
            lines.append(f"Content-Range: bytes {begin}-{end - 1}/{size}")
        if head:
            self.write(200, lines, b"", head=True, length=end - begin)
        else:
            content = os.pread(descriptor, end - begin, begin)
            self.write(200 if part is None else 206, lines, content, head=False)

    def write(
        self, status: int, lines: list[str], body: bytes, *, head: bool, length: int | None = None
    ) -> None:
        """Send an answer; of a HEAD only how long it would be."""
        length = len(body) if length is None else length
        top = [f"HTTP/1.1 {status} Answer", *lines, f"Content-Length: {length}", "", ""]
        self.transport.write("\r\n".join(top).encode())
        if not head:
            self.transport.write(body)


@lru_cache(maxsize=4096)
def opened(folder: Path, name: str) -> tuple[int, int, str, str] | None:
    """Open a file once: descriptor, size, tag and time of change."""
    path = folder / name
    if ".." in path.parts or not path.is_file():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    about = os.fstat(descriptor)
    stamp = f"{about.st_ino:x}-{about.st_mtime_ns:x}-{about.st_size:x}"
    return descriptor, about.st_size, stamp, formatdate(about.st_mtime, usegmt=True)


async def serve(folder: Path, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        partial(Answers, folder, delay), "127.0.0.1", 0, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    port: int
    process: int

    @property
    def url(self) -> str:
        """What leads there."""
        return f"http://127.0.0.1:{self.port}"

    def set_environment(self) -> None:
        """Lead clients of S3 in this process here."""
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "LOOPBACK",
            "AWS_SECRET_ACCESS_KEY": "loopback",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    def processor_seconds(self) -> float:
        """Tell what the server has used of processors so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_server(folder: Path, delay: float) -> Iterator[Running]:
    """Run a server while a block does."""
    command = [sys.executable, __file__, str(folder), "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Running(int(process.stdout.readline()), process.pid)
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before each answer")
    options = parser.parse_args()
    asyncio.run(serve(options.folder, options.delay))


if __name__ == "__main__":
    main()
