"""Addresses of stores: what is taken, and what is refused without a word of what should stay secret."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.errors import ConfigError, MfdError, RemoteError, SourceError, StoreError
from mfdstore.places.address import Address, find_place, here
from mfdstore.places.connection import connect
from mfdstore.sources.cache import cache_folder
from tests.servers import set_environment


@pytest.mark.parametrize(
    ("text", "scheme", "bucket", "key", "name"),
    [
        ("s3://lab/encode.zarr", "s3", "lab", "encode.zarr", "encode.zarr"),
        ("S3://lab/a b/ü/x.zarr/", "s3", "lab", "a b/ü/x.zarr", "x.zarr"),
        ("http://127.0.0.1:8000/x.zarr", "http", "127.0.0.1:8000", "x.zarr", "x.zarr"),
        ("HTTPS://host.org/a/b.zarr//", "https", "host.org", "a/b.zarr", "b.zarr"),
        ("http://host", "http", "host", "", "host"),
        ("http://host/~who/b@c.zarr", "http", "host", "~who/b@c.zarr", "b@c.zarr"),
    ],
)
def test_addresses_are_read(text: str, scheme: str, bucket: str, key: str, name: str) -> None:
    address = find_place(text)
    assert isinstance(address, Address)
    assert (address.scheme, address.bucket, address.key, address.name) == (scheme, bucket, key, name)
    assert find_place(str(address)) == address == find_place(address)
    assert pickle.loads(pickle.dumps(address)) == address  # noqa: S301


@pytest.mark.parametrize("text", ["encode.zarr", "/data/x.zarr", "s3", "a:b", "s3:x", "~/x.zarr", "C:/x"])
def test_what_is_no_address_is_a_path(text: str) -> None:
    assert find_place(text) == Path(text) == find_place(Path(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gs://lab/x.zarr", "gs://"),
        ("file:///x.zarr", "file://"),
        ("ftp://user:SECRET@host/x", "ftp://"),
        ("s3://", "no name of a bucket"),
        ("s3:///x.zarr", "no name of a bucket"),
        ("s3://lab", "nothing behind it"),
        ("s3://lab/", "nothing behind it"),
        ("s3://la b/x.zarr", "no name of a bucket"),
        ("s3://lab/../x.zarr", "'..'"),
        ("s3://lab/a//x.zarr", "''"),
        ("s3://lab/%2e%2e/x.zarr", "'..'"),
        ("http://host/a/./x", "'.'"),
        ("http://host/a%2F..%2Fx", "'..'"),
        ("http://host:no/x.zarr", "host or port"),
        ("http:///x.zarr", "no host"),
        ("http://[::1/x.zarr", "host or port"),
        ("s3://KEY:SECRET@lab/x.zarr", "an @"),
        ("s3://KEY:SEC/SECRET@lab/x.zarr", "an @"),
        ("https://who:SECRET@host/x.zarr", "a user or password"),
        ("https://who:SEC/SECRET@host/x.zarr", "host or port"),
        ("https://host/x.zarr?X-Amz-Signature=SECRET", "a query"),
        ("https://host/x.zarr#SECRET", "a query or fragment"),
        ("s3://lab/x\n\x1b[31m.zarr", "cannot be printed"),
    ],
)
def test_addresses_are_refused(text: str, words: str) -> None:
    with pytest.raises(StoreError) as caught:
        find_place(text)
    said = str(caught.value)
    assert words in said
    assert "SECRET" not in said
    assert "KEY:" not in said
    assert "\n" not in said
    assert "\x1b" not in said
    assert "s3://bucket/folder/x.zarr" in said  # what is known


@given(
    st.text(max_size=40).map(lambda text: f"s3://{text}") | st.text(max_size=40).map(lambda t: f"http://{t}")
)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = find_place(text)
    except StoreError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused
    if refused:
        return
    assert isinstance(address, Address)
    assert ".." not in str(address).split("/")
    assert "?" not in str(address)


def test_an_address_that_became_a_path_is_told() -> None:
    with pytest.raises(StoreError, match="lost a slash"):
        find_place(Path("s3://lab/x.zarr"))
    with pytest.raises(StoreError, match="lost a slash"):
        find_place("https:/host/x.zarr")


def test_a_command_that_writes_to_disk_says_how_to_get_it_elsewhere() -> None:
    assert here("--out", "x.zarr") == Path("x.zarr")
    for text in (
        "s3://lab/x.zarr",
        Path("s3://lab/x.zarr"),
        "https://u:SECRET@h/x",
        Path("https://u:SECRET@h/x"),
    ):
        with pytest.raises(ConfigError, match=r"mfdstore copy") as told:
            here("--out", text)
        assert "lost a slash" not in str(told.value)
        assert "SECRET" not in str(told.value)


def test_a_cache_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--cache: found the address s3:/lab/c"):
        cache_folder(Path("s3://lab/c"))
    monkeypatch.setenv("MFD_CACHE", "https://u:SECRET@h/c")
    with pytest.raises(ConfigError, match="--cache: found the address") as told:
        cache_folder()
    assert "SECRET" not in str(told.value)


def test_keys_in_a_path_are_not_shown() -> None:
    for where in (
        "https://u:SECRET@h/m.tsv",
        Path("https://u:SECRET@h/m.tsv"),
        "s3://AK:SEC/SECRET@lab/m.tsv",
    ):
        error = SourceError(where, found="nothing", expected="a file", remedy="Look.")
        assert "SECRET" not in str(error)
        assert "SECRET" not in str(pickle.loads(pickle.dumps(error)))  # noqa: S301
    for where in (
        "https:/h/b?X-Amz-Signature=SECRET",
        Path("https://h/b?sig=SECRET#SECRET"),
        "tcp://u:SECRET@h:1",
    ):
        assert "SECRET" not in str(SourceError(where, found="nothing", expected="a file", remedy="Look."))
    address = find_place("http://host/~who/b@c.zarr")
    assert "~who/b@c.zarr" in str(StoreError(address, found="nothing", expected="a store", remedy="Look."))


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        (("AWS_ACCESS_KEY_ID",), "no AWS_ACCESS_KEY_ID in"),
        (("AWS_SECRET_ACCESS_KEY",), "no AWS_SECRET_ACCESS_KEY in"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_without_credentials_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...], words: str
) -> None:
    set_environment(monkeypatch, "http://127.0.0.1:9")
    for name in lacking:
        monkeypatch.setenv(name, "")
    address = find_place("s3://lab/x.zarr")
    assert isinstance(address, Address)
    with pytest.raises(RemoteError, match=words):
        connect(address)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    connect(address)


def test_settings_that_are_none_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")
    address = find_place("s3://lab/x.zarr")
    assert isinstance(address, Address)
    with pytest.raises(MfdError) as caught:
        connect(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://u:SECRET#1@host/x.zarr",
        "https://u:SECRET?1@host/x.zarr",
        "s3://AK:SEC#SECRET@lab/x.zarr",
        "s3://AK:SECRET/x@lab/x",
    ],
)
def test_no_part_of_a_password_is_shown(text: str) -> None:
    with pytest.raises(StoreError) as told:
        find_place(text)
    assert "SEC" not in str(told.value)


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(StoreError, match="cannot be one of a web server"):
        connect(find_place("http://ex ample/x.zarr"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "AK\r"),
        ("AWS_SESSION_TOKEN", "a\nb"),
        ("AWS_REGION", "u s"),
        ("AWS_ENDPOINT_URL", "http://ex ample:1"),
    ],
)
def test_blanks_and_line_ends_in_settings_are_told(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=f"a blank or a line end in {variable}"):
        connect(find_place("s3://lab/x.zarr"))  # type: ignore[arg-type]
