"""Clients of the servers where stores lie: credentials from the environment, bounded waiting, faults in words.

What a server or its client says is never passed on as it is: it may span pages, and name what should stay unsaid.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mfdstore.errors import ConfigError, RemoteError
from mfdstore.places.address import Address

if TYPE_CHECKING:
    from obstore.store import ClientConfig, HTTPStore, RetryConfig, S3Store

MAX_RETRIES: Final = 8
"""Of a request that the server or the line failed; some seconds in all."""
RETRY_SECONDS: Final = 120
"""After which no request is tried again."""
CONNECT_SECONDS: Final = 10
SILENCE_SECONDS: Final = 30
"""How long a server may send nothing in the midst of an answer."""
HASTY_SECONDS: Final = 5
"""How long an answer is waited for that can be done without."""
REQUEST_SECONDS: Final = 600
"""How long a whole answer may take; a shard has some MB."""

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OTHER_CREDENTIALS: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
)
_PLAIN: Final = (*_KEYS, "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_ENVIRONMENT: Final = (
    "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL, and what they "
    "may do there."
)
_LATER: Final = "Run it again; what was done is not done twice."


_asking: set[int] = set()
"""The process whose threads ask."""


def check_asking(address: Address) -> None:
    """Refuse to ask in a fork of a process that has asked: the threads that do it are not in the fork.

    Raises
    ------
    ConfigError
        If this is one; it would wait for ever.
    """
    _asking.add(os.getpid())
    if len(_asking) > 1:
        _asking.remove(os.getpid())
        raise ConfigError(
            address,
            found=f"reading in process {os.getpid()}, a fork of process {min(_asking)} that has asked servers",
            expected="a process that was begun anew, or forked before anything was asked",
            remedy='Take "spawn" or "forkserver" to begin processes.',
        )


def connect(address: Address, *, hasty: bool = False) -> S3Store | HTTPStore:
    """Make a client of the server; nothing is asked of it yet.

    Parameters
    ----------
    address
        Of the store.
    hasty
        For what can be done without: tried twice, and waited for a few seconds.

    Raises
    ------
    RemoteError
        If the environment holds no credentials, or settings that are none.
    ConfigError
        If this process is a fork of one that has asked servers.
    """
    check_asking(address)
    from obstore.exceptions import BaseError
    from obstore.store import HTTPStore, S3Store

    retries: RetryConfig = {
        "max_retries": min(1, MAX_RETRIES) if hasty else MAX_RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=min(HASTY_SECONDS, SILENCE_SECONDS) if hasty else SILENCE_SECONDS),
        "timeout": timedelta(seconds=min(HASTY_SECONDS, SILENCE_SECONDS) if hasty else REQUEST_SECONDS),
    }
    if address.scheme != "s3":
        options["allow_http"] = address.scheme == "http"
        try:
            return HTTPStore(str(address), client_options=options, retry_config=retries)
        except (BaseError, ValueError):
            raise RemoteError(
                address,
                found="an address that cannot be one of a web server",
                expected="https://host/folder/encode.zarr",
                remedy="Correct the address.",
            ) from None
    _check_credentials(address)
    _check_characters(address)
    _check_endpoint(address)
    options["allow_http"] = _is_true("AWS_ALLOW_HTTP")
    try:
        # all else that the client of S3 needs it reads from the environment itself
        return S3Store(
            address.bucket,
            prefix=address.key,
            conditional_put="etag",  # nothing is ever put by other means
            client_options=options,
            retry_config=retries,
        )
    except (BaseError, ValueError) as error:
        raise RemoteError(
            address,
            found=f"settings of AWS that cannot be used ({_first_words(error)})",
            expected="those that docs/remote.md lists",
            remedy="Correct the variables of the environment whose names begin with AWS_.",
        ) from None


def explain(address: Address, error: Exception, name: str = "") -> RemoteError:
    """Say in a user's words why a file could not be had or written.

    Parameters
    ----------
    address
        Of the store.
    error
        Of the client.
    name
        Of the file, if it was about one.
    """
    found, remedy = _classify(address, str(error))
    file = f" for {name}" if name else ""
    return RemoteError(
        address, found=f"{found}{file}", expected="a server that gives it and takes it", remedy=remedy
    )


def is_beyond(error: Exception) -> bool:
    """Say whether a part was asked for that lies behind a file's end.

    Of the last bytes of an empty object servers of S3 give the whole of it.
    """
    text = str(error)
    return "status code: 416" in text or ("NotPartial" in text and "Generic S3" in text)


def _classify(address: Address, text: str) -> tuple[str, str]:
    """Find what happened, and what to do, in what the client says."""
    s3 = address.scheme == "s3"
    status = next(iter(_STATUS.findall(text)), "")
    code = next(iter(_CODE.findall(text)), "")
    answer = f"the answer {status}{f' ({code})' if code else ''}"
    if code == "NoSuchBucket":
        return f"no bucket {address.bucket}", "Create it first, or correct the address or AWS_ENDPOINT_URL."
    if status in ("401", "403"):
        leave = _ENVIRONMENT if s3 else "Ask whoever runs the server for leave to read it."
        return answer, leave
    if status[:1] == "3" or "redirect" in text:
        where = "Set AWS_REGION to the region of the bucket, or correct" if s3 else "Correct"
        return answer if status else "an answer that points elsewhere", f"{where} the address."
    if status == "501":
        return answer, "The server lacks what this needs: S3 with conditional writes (If-None-Match)."
    if status[:1] == "5" or status in ("409", "429"):
        return answer, _LATER
    if status:
        return answer, "Check the address."
    fetch = f"Fetch it: mfdstore copy {address} PATH"
    where = "the address and AWS_ENDPOINT_URL" if s3 else "the address"
    for words, found, remedy in (
        ("RangeNotSupported", "a server that gives no parts of files", fetch),
        ("NotPartial", "a server that gives no parts of files", fetch),
        ("UnexpectedRange", "a server that gives other parts of files than were asked for", fetch),
        ("BadScheme", "an endpoint without TLS", "Set AWS_ALLOW_HTTP=true if it is meant, or use https."),
        ("dns error", "no server of that name", f"Check {where}."),
        ("Connection refused", "no server that listens there", f"Check {where}."),
        ("kind: Connect", "no connection to the server", f"Check {where} and the network."),
        ("Timeout", "no answer in time", _LATER),
        ("TimedOut", "no answer in time", _LATER),
        ("kind: Decode", "an answer that was cut short", _LATER),
        ("IncompleteMessage", "an answer that was cut short", _LATER),
        ("UnexpectedEof", "an answer that was cut short", _LATER),
        ("credential", "no credentials that can be used", _ENVIRONMENT),
    ):  # fmt: skip
        if words in text:
            return found, remedy
    return "a request that failed", _LATER


def _check_credentials(address: Address) -> None:
    """Ask for credentials that were meant, rather than let the client look for those of the machine."""
    if _is_true("AWS_SKIP_SIGNATURE") or all(os.environ.get(key) for key in _KEYS):
        return
    lacking = [key for key in _KEYS if not os.environ.get(key)]
    if len(lacking) == len(_KEYS) and any(os.environ.get(key) for key in _OTHER_CREDENTIALS):
        return
    raise RemoteError(
        address,
        found=f"no {' and no '.join(lacking)} in the environment",
        expected="credentials, or AWS_SKIP_SIGNATURE=true for a public bucket",
        remedy="Set the variables (docs/remote.md lists them), then run it again.",
    )


def _check_characters(address: Address) -> None:
    """Refuse blanks and line ends in settings, as a file of Windows leaves them: the client would end the program."""
    for variable in _PLAIN:
        text = os.environ.get(variable, "")
        if not text.isprintable() or " " in text:
            raise RemoteError(
                address,
                found=f"a blank or a line end in {variable}",
                expected="a value without them",
                remedy="Set the variable again.",
            )


def _check_endpoint(address: Address) -> None:
    """Refuse what the client would end the program for, or put into its messages."""
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        text = os.environ.get(variable, "")
        try:
            parts = urlsplit(text)
            sound = not text or (parts.scheme in ("http", "https") and bool(parts.hostname))
            sound = sound and "@" not in text and "?" not in text and (parts.port is None or parts.port > 0)
        except ValueError:
            sound = False
        if not sound:
            raise RemoteError(
                address,
                found=f"something else in {variable}",
                expected="the address of a server of S3 such as https://s3.host.org:9000, without keys",
                remedy="Correct the variable; keys have variables of their own (docs/remote.md).",
            )


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on", "y")


def _first_words(error: Exception) -> str:
    """Give the first line of what a client says, without addresses."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"\S*(://|@)\S*|\"[^\"]*\"", "...", line)[:120]
