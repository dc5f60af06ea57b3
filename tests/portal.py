"""A real HTTP server on loopback: files that misbehave on purpose, and the routes of the portal and of UCSC."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Loopback:
    """What is served, and what was asked for.

    `files` by path; `tables` by path are functions of the query (`None` is a 404); `tricks` by path are used up one a
    request, from the front, and then the file is served as it should be. An endless trick is put there by `always`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, Callable[[dict[str, list[str]]], bytes | None]] = field(default_factory=dict)
    tricks: dict[str, list[Trick]] = field(default_factory=dict)
    always: dict[str, Trick] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0
    most_at_once: int = 0

    def url(self, path: str) -> str:
        return f"{self.address}{path}"

    def requests(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    def trick(self, path: str) -> Trick | None:
        with self.lock:
            waiting = self.tricks.get(path)
            return waiting.pop(0) if waiting else self.always.get(path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Loopback

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        served = self.served
        with served.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.asked.append(Asked(path, query, headers))
            served.at_once += 1
            served.most_at_once = max(served.most_at_once, served.at_once)
        try:
            content = served.files.get(path)
            if content is None and path in served.tables:
                content = served.tables[path](query)
            trick = served.trick(path)
            if trick is not None:
                trick(self, content or b"")
            elif content is None:
                self.answer(404, b"not found")
            else:
                self.serve(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with served.lock:
                served.at_once -= 1

    def serve(self, content: bytes, *, ranges: bool = True) -> None:
        """Serve a file as it should be."""
        self.begin(content, ranges=ranges)
        self.wfile.write(self.body)

    def begin(self, content: bytes, *, ranges: bool = True, tag: bool = True) -> None:
        """Send the head of an answer and keep the body that belongs to it."""
        version = f'"{hashlib.md5(content).hexdigest()}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        status, headers, self.body = 200, {}, content
        if ranges and asked and self.headers.get("If-Range", version) == version:
            start = int(asked[1])
            if start >= len(content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                self.body = b""
                return
            status, self.body = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if tag:
            self.send_header("ETag", version)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send an answer of another kind."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


Trick = Callable[[_Handler, bytes], None]


def cut(after: int, *, tag: bool = True) -> Trick:
    """Close the connection after so many bytes of the body."""

    def trick(handler: _Handler, content: bytes) -> None:
        handler.begin(content, tag=tag)
        handler.wfile.write(handler.body[:after])
        handler.hang_up()

    return trick


def no_ranges(handler: _Handler, content: bytes) -> None:
    """Serve the whole whatever is asked for."""
    handler.serve(content, ranges=False)


def slowly(pause: float, block: int = 1) -> Trick:
    """Send a few bytes at a time."""

    def trick(handler: _Handler, content: bytes) -> None:
        handler.begin(content)
        for start in range(0, len(handler.body), block):
            handler.wfile.write(handler.body[start : start + block])
            handler.wfile.flush()
            time.sleep(pause)

    return trick


def stall(seconds: float, after: int = 0) -> Trick:
    """Fall silent in the middle of the body."""

    def trick(handler: _Handler, content: bytes) -> None:
        handler.begin(content)
        handler.wfile.write(handler.body[:after])
        handler.wfile.flush()
        time.sleep(seconds)
        handler.hang_up()

    return trick


def status(code: int, headers: dict[str, str] | None = None) -> Trick:
    """Answer with a status."""
    return lambda handler, content: handler.answer(code, b"said by the server", headers)


def redirect(to: str, code: int = 307) -> Trick:
    """Point elsewhere."""
    return lambda handler, content: handler.answer(code, b"", {"Location": to})


def instead(other: bytes) -> Trick:
    """Serve other bytes."""
    return lambda handler, content: handler.serve(other)


def endless(handler: _Handler, content: bytes) -> None:
    """Send without end and without saying how much it will be."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(bytes(10_000))
    handler.hang_up()


def in_chunks(after: int | None = None) -> Trick:
    """Send in chunks, as the portal sends its tables; hang up after some bytes if `after` says so."""

    def trick(handler: _Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(content), 1000):
            if after is not None and start >= after:
                handler.hang_up()
                return
            block = content[start : start + 1000]
            handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return trick


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that was killed


@contextmanager
def serving() -> Iterator[Loopback]:
    """Run the server in a thread."""
    served = Loopback()
    handler = type("Handler", (_Handler,), {"served": served})
    with _Server(("127.0.0.1", 0), handler) as server:
        served.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


# ---- the portal


@dataclass
class Portal:
    """The tables and files of a folder of sources, served as the ENCODE portal does.

    Change `metadata`, `report` or `states` and the next request sees it. `states` holds the status of files, and what
    replaces them, that no longer stand in `metadata`. As in the portal's own tables, `metadata` has addresses at the
    portal's own name, whatever mirror serves it.
    """

    served: Loopback
    metadata: list[dict[str, str]]
    report: list[dict[str, str]]
    states: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, served: Loopback, sources: Path, *, report: str = "experiment_report.tsv") -> Portal:
        """Serve the tables of a folder, and its peak files behind a redirect, as the portal does."""
        with (sources / "metadata.tsv").open() as handle:
            metadata = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        with (sources / report).open() as handle:
            handle.readline()
            reported = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        portal = cls(served, metadata, reported)
        for row in metadata:
            name = f"{row['File accession']}.bed.gz"
            portal.put(row["File accession"], (sources / "peaks" / name).read_bytes())
        served.tables |= {"/metadata/": portal.answer_metadata, "/report.tsv": portal.answer_report}
        return portal

    @staticmethod
    def download_path(accession: str) -> str:
        return f"/files/{accession}/@@download/{accession}.bed.gz"

    @staticmethod
    def storage_path(accession: str) -> str:
        return f"/storage/2020/12/31/{accession}.bed.gz"

    def put(self, accession: str, content: bytes) -> None:
        """Serve a peak file: the portal's address leads to a storage."""
        path = self.storage_path(accession)
        self.served.files[path] = content
        self.served.always[self.download_path(accession)] = redirect(self.served.url(path))

    def answer_metadata(self, query: dict[str, list[str]]) -> bytes | None:
        if query.get("type") != ["Experiment"]:
            return None
        rows = [row for row in self.metadata if all(_fits(row, key, query[key]) for key in query)]
        return _table(list(self.metadata[0]), rows) if rows else None

    def answer_report(self, query: dict[str, list[str]]) -> bytes | None:
        wanted = {text.strip("/").rpartition("/")[2] for text in query.get("@id", [])}
        stamp = f"2024-01-01 00:00:00\t{self.served.url('/report/')}?limit=all\r\n".encode()
        if query.get("type") == ["File"]:
            rows = [
                {"Accession": name, "Status": self.states[name][0], "superseded_by": self.states[name][1]}
                for name in sorted(wanted & set(self.states))
            ]
            columns = ["Accession", "Status", "superseded_by"]
        else:
            rows = [row for row in self.report if row["Accession"] in wanted]
            columns = list(self.report[0])
        return stamp + _table(columns, rows, end="\r\n") if rows else None


_FIELDS = {
    "assay_title": "Assay",
    "biosample_ontology.classification": "Biosample type",
    "biosample_ontology.term_name": "Biosample term name",
    "replicates.library.biosample.donor.organism.scientific_name": "Biosample organism",
    "files.file_type": "File format",
    "files.output_type": "Output type",
    "files.assembly": "File assembly",
    "assembly": "File assembly",
    "files.status": "File Status",
    "@id": "Experiment accession",
    "target.label": "Experiment target",
}
_UNSEEN = ("type", "status", "control_type!", "perturbed", "files.preferred_default", "files.analyses.status")


def _fits(row: dict[str, str], key: str, allowed: list[str]) -> bool:
    if key in _UNSEEN:
        return True
    value = row[
        _FIELDS[key]
    ]  # a parameter that the portal does not know of is a fault of the test or of the program
    if key == "target.label":
        value = value.removesuffix("-human")
    if key == "@id":
        value = f"/experiments/{value}/"
    return value in allowed


def _table(columns: list[str], rows: list[dict[str, str]], end: str = "\n") -> bytes:
    text = io.StringIO()
    for cells in [columns, *([row.get(column, "") for column in columns] for row in rows)]:
        text.write("\t".join(cells) + end)
    return text.getvalue().encode()
