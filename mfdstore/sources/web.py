"""Asking HTTP servers: again where that can help, never without end, and said plainly where it cannot.

A server that stumbles (no connection, a cut, 408, 429, 5xx) is asked again after a wait that doubles and is drawn at
random up to that, so that many clients do not come back at once. What it refuses (404, 403 ...) is final.
"""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from mfdstore.errors import DownloadError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_BLOCK: Final = 1 << 18
_STUMBLES: Final = (408, 425, 429, 500, 502, 503, 504)
_HEADWAY: Final = 1 << 20
"""An attempt that brought so many new bytes was no failure: attempts are counted anew."""
_LARGEST_TABLE: Final = 1 << 30


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for; times in seconds.

    Parameters
    ----------
    attempts
        How often one thing is asked for without headway before that is an error.
    first_wait, longest_wait
        Bounds of the wait after the first failure and after any, doubled from one to the next.
    longest_pause
        A server that asks for a longer pause (Retry-After) is not waited for.
    connect_timeout
        For the connection.
    read_timeout
        For the next byte, and the span over which the speed is measured.
    slowest
        Bytes a second over `read_timeout` below which a server counts as stalled.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_pause: float = 300.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    slowest: float = 1000.0


class Stumble(Exception):  # noqa: N818 - never seen by a user: it ends in another attempt or in a DownloadError
    """A failure that may pass.

    Parameters
    ----------
    found
        What was met, as a `DownloadError` says it.
    pause
        Seconds the server asks to be left alone, where it says so.
    """

    def __init__(self, found: str, pause: float | None = None) -> None:
        super().__init__(found)
        self.found = found
        self.pause = pause


class Stopped(Exception):  # noqa: N818 - says that another thread's fault ended this one
    """The work was called off."""


class Web:
    """A client that several threads may share.

    Parameters
    ----------
    patience
        How long servers are waited for.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._own = threading.local()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make all threads leave at the next block or wait, by `Stopped`."""
        self._stop.set()

    def read(self, address: str, *, largest: int = _LARGEST_TABLE) -> bytes:
        """Get a whole answer into memory.

        Raises
        ------
        DownloadError
            If it does not come, or is longer than `largest` bytes.
        """

        def attempt() -> bytes:
            content = bytearray()
            with self.open(address, {}) as response:
                for block in self.blocks(response, decode=True):
                    content += block
                    if len(content) > largest:
                        raise DownloadError(
                            address,
                            found=f"an answer of more than {largest:,} bytes",
                            expected="a table",
                            remedy="Narrow the selection.",
                        )
            return bytes(content)

        return self.persist(address, attempt)

    def persist(
        self, address: str, attempt: Callable[[], Result], reached: Callable[[], int] = lambda: 0
    ) -> Result:
        """Call `attempt` until it does not raise `Stumble`, as long as patience lasts.

        Parameters
        ----------
        address
            For messages.
        attempt
            One try.
        reached
            How many bytes are there by now; see `_HEADWAY`.

        Raises
        ------
        DownloadError
            If patience ends.
        """
        failures, best = 0, reached()
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                return attempt()
            except Stumble as fault:
                if reached() >= best + _HEADWAY:
                    failures = 0
                best = max(best, reached())
                failures += 1
                if fault.pause is not None and fault.pause > self.patience.longest_pause:
                    raise DownloadError(
                        address,
                        found=f"{fault.found}, and the server asks for a pause of {fault.pause:,.0f} s",
                        expected=f"a pause of at most {self.patience.longest_pause:,.0f} s",
                        remedy="Run the same command again later: what is whole is kept.",
                    ) from fault
                if failures >= self.patience.attempts:
                    raise DownloadError(
                        address,
                        found=f"{fault.found}, {failures} times in a row",
                        expected="an answer",
                        remedy="Check the network, or run the same command again later: what is whole is kept.",
                    ) from fault
                wait = fault.pause if fault.pause is not None else self._draw_wait(failures)
                log.info("%s: %s; asked again in %.1f s", address, fault.found, wait)
                if self._stop.wait(wait):
                    raise Stopped from None

    def _draw_wait(self, failures: int) -> float:
        most = min(self.patience.longest_wait, self.patience.first_wait * 2 ** (failures - 1))
        return float(most * random.uniform(0.5, 1))

    @contextmanager
    def open(
        self, address: str, headers: Mapping[str, str], accepted: tuple[int, ...] = (200,)
    ) -> Iterator[requests.Response]:
        """Ask once, following redirects, and give the answer with its body still to come.

        Raises
        ------
        Stumble
            If it did not work, and may another time.
        DownloadError
            If it will not work another time either.
        """
        check_address(address)
        patience = self.patience
        try:
            response = self._session().get(
                address,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(patience.connect_timeout, patience.read_timeout),
            )
        except (
            requests.exceptions.SSLError,
            requests.exceptions.TooManyRedirects,
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidHeader,
            UnicodeError,
        ) as error:
            raise DownloadError(
                address,
                found=f"an address or answer that cannot be used ({_innermost(error)})",
                expected="an answer over http or https",
                remedy="Check the address, and the certificates of this machine.",
            ) from error
        except requests.exceptions.ConnectTimeout as error:
            raise Stumble(f"no connection within {patience.connect_timeout:g} s") from error
        except requests.exceptions.Timeout as error:
            raise Stumble(f"no answer within {patience.read_timeout:g} s") from error
        except requests.exceptions.RequestException as error:
            raise Stumble(f"no connection ({_innermost(error)})") from error
        with response:
            if response.status_code not in accepted:
                raise _refusal(address, response)
            yield response

    def blocks(self, response: requests.Response, *, decode: bool) -> Iterator[bytes]:
        """Give the body as it comes in.

        Parameters
        ----------
        response
            Of `open`.
        decode
            Undo a compression of the transport; not for files, whose bytes are digested as they are.

        Raises
        ------
        Stumble
            If the body breaks off or comes too slowly.
        """
        begin, since, received = time.monotonic(), time.monotonic(), 0
        patience = self.patience
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                block = response.raw.read1(_BLOCK, decode_content=decode)
            except urllib3.exceptions.TimeoutError as error:
                raise Stumble(f"no further byte within {patience.read_timeout:g} s") from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise Stumble("an answer that breaks off") from error
            if not block:
                return
            yield block
            received += len(block)
            now = time.monotonic()
            if now - since >= patience.read_timeout:
                if received < patience.slowest * (now - since):
                    raise Stumble(
                        f"a server too slow to wait for: {received / (now - since):,.0f} bytes a second "
                        f"after {now - begin:,.0f} s"
                    )
                since, received = now, 0

    def _session(self) -> requests.Session:
        """Give this thread its own session: they keep connections, and are not safe to share."""
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.headers["User-Agent"] = f"mfdstore/{version('mfd')}"
        session: requests.Session = self._own.session
        return session


def check_address(address: str) -> None:
    """Refuse what is no plain http or https address: tables and redirects may hold anything.

    Raises
    ------
    DownloadError
        If it is none.
    """
    try:
        parts = urlsplit(address)
        sound = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
            and all(char.isprintable() and char != " " for char in address)
        )
    except ValueError:
        sound = False
    if not sound:
        raise DownloadError(
            repr(address[:200]),
            found="no address of the web",
            expected="http://... or https://..., without name or password",
            remedy="Correct it.",
        )


def _refusal(address: str, response: requests.Response) -> Exception:
    status = response.status_code
    found = f"{status} {response.reason or ''}".strip()
    if status in _STUMBLES:
        return Stumble(found, _pause(response.headers.get("Retry-After")))
    remedies = {
        401: "It is not open to all: choose other files.",
        403: "It is not open to all: choose other files.",
        404: "Check the name; the file may have been withdrawn or moved.",
        410: "It was withdrawn: choose other files.",
    }
    refusal = DownloadError(
        address,
        found=found,
        expected="the file or table",
        remedy=remedies.get(status, "Check the address."),
    )
    refusal.status = status
    return refusal


def _pause(text: str | None) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        until = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, until - time.time())


def _innermost(error: BaseException) -> str:
    """Say the cause beneath what requests wraps around it."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen)[:200] or type(seen).__name__
