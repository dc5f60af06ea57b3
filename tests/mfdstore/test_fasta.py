"""FASTA files of all three packings against strings, and what is wrong with the wrong ones."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.dinucleotides import encode_bases
from mfdstore.errors import SourceError
from mfdstore.sources import fasta_text, fasta_unpack
from mfdstore.sources.fasta import open_fasta
from tests.worlds import write_fasta

Packing = Callable[[Path, bytes], None]


def _plain(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def _bgzf(path: Path, content: bytes) -> None:
    with pysam.BGZFile(str(path), "wb") as handle:
        handle.write(content)


PACKINGS = [pytest.param(pack, id=pack.__name__.strip("_")) for pack in (_plain, _gzip, _bgzf)]


def _sequences(path: Path) -> dict[str, bytes]:
    with open_fasta(path) as fasta:
        found = {name: fasta.bases(name) for name in fasta.sizes}
        assert {name: len(bases) for name, bases in found.items()} == dict(fasta.sizes)
    return found


@pytest.mark.parametrize("pack", PACKINGS)
def test_open_fasta__gives_the_letters_in_the_files_order(tmp_path: Path, pack: Packing) -> None:
    content = b">chr2 second first\nACGTN\nacgtn\nRY\n>chr1\tx\nAC\n>one\nNNNN\nA"
    pack(tmp_path / "x.fa", content)
    found = _sequences(tmp_path / "x.fa")
    # unpacked of one stream, letters are kept as far as codes tell them apart
    first = b"ACGTNACGTNNN" if pack is _gzip else b"ACGTNacgtnRY"
    assert list(found.items()) == [("chr2", first), ("chr1", b"AC"), ("one", b"NNNNA")]


@pytest.mark.parametrize("strange", [*range(256)])
def test_open_fasta__tells_each_sign_apart_however_it_is_packed(tmp_path: Path, strange: int) -> None:
    sign = bytes([strange])
    text = b">a\n" + b"ACGTacgtNN\n" * 3 + b"ACGT" + sign + b"CGTNN\nACGT\n"
    told = []
    for pack in (_plain, _gzip):
        path = tmp_path / pack.__name__
        pack(path, text)
        try:
            bases = _sequences(path)["a"]
        except SourceError:
            told.append("refused")
        else:
            told.append(encode_bases(bases).tobytes().hex())
    if sign not in (b"\n", b"\r"):  # lines of another length: only an index minds
        assert told[0] == told[1]
        assert (told[0] == "refused") == (strange <= 32 or strange >= 127 or sign == b">")


@pytest.mark.parametrize("pack", PACKINGS)
def test_open_fasta__takes_line_ends_of_windows_and_a_second_opening(tmp_path: Path, pack: Packing) -> None:
    pack(tmp_path / "x.fa", b">a\r\nACGT\r\nAC\r\n>b\r\nGG\r\n")
    for _ in range(2):
        assert _sequences(tmp_path / "x.fa") == {"a": b"ACGTAC", "b": b"GG"}


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b">a\nACGT\n>b\nAC\n>a\nGGGG\n", 5, "'a' a second time"),
        (b">a\n>b\nACGT\n", 1, "sequence a without a base"),
        (b">b\nACGT\n>a\n", 3, "sequence a without a base"),
        (b">a\nACGT\n>\nACGT\n", 3, "a sequence without a name"),
        (b"hello\nworld\n", 1, "'hello'"),
        (b"\n>a\nACGT\n", 1, "starts with '>'"),
        (bytes(range(256)) * 30, 1, "starts with '>'"),
        (b">a\nAC GT\nACGTT\nAC\n", None, "sequence a that are no bases"),
        (b">a\nAC\xffGT\n", 2, ""),
        (b"", None, ""),
    ],
    ids=[
        "twice",
        "no-base",
        "no-base-at-end",
        "no-name",
        "text",
        "blank-first",
        "binary",
        "blank",
        "bytes",
        "empty",
    ],
)
def test_open_fasta__explains_what_is_wrong(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    pack: Packing,
    content: bytes,
    line: int | None,
    words: str,
) -> None:
    path = tmp_path / "x.fa"
    pack(path, content)
    with pytest.raises(SourceError) as caught:
        _sequences(path)
    if content:
        # of an unpacked stream only the sequence is known
        assert caught.value.line in ((line, None) if pack is _gzip else (line,))
    assert words in str(caught.value)
    assert caught.value.where == str(path)
    assert capfd.readouterr().err == ""  # htslib keeps its own messages to itself


@pytest.mark.parametrize("pack", [_plain, _bgzf])
@pytest.mark.parametrize(
    ("content", "line"),
    [(b">a\nACGT\nACGTTT\nAC\n", 3), (b">b\nA\n>a\nACGT\nAC\nACGT\n", 5), (b">a\nACGT\n\nACGT\n", 3)],
)
def test_open_fasta__names_the_line_of_another_width(
    tmp_path: Path, pack: Packing, content: bytes, line: int
) -> None:
    pack(tmp_path / "x.fa", content)
    with pytest.raises(SourceError, match="lines of different lengths in sequence a") as caught:
        _sequences(tmp_path / "x.fa")
    assert caught.value.line == line
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.fa"]  # no index of a file that is wrong


@pytest.mark.parametrize("pack", [_gzip, _bgzf])
def test_open_fasta__finds_a_file_cut_off_anywhere(tmp_path: Path, pack: Packing) -> None:
    whole = tmp_path / "whole.fa"
    pack(whole, b">a\n" + b"ACGTTGCA" * 40 + b"\n>b\nACGT\n")
    content = whole.read_bytes()
    for length in range(len(content)):
        part = tmp_path / f"part{length}.fa"
        part.write_bytes(content[:length])
        with pytest.raises(SourceError) as caught:
            _sequences(part)
        assert caught.value.where == str(part)


def test_open_fasta__finds_a_damaged_block(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    _bgzf(
        path, b">a\n" + os.urandom(60_000).hex().encode().translate(bytes.maketrans(b"0123", b"ACGT")) + b"\n"
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"damaged|cannot be"):
        _sequences(path)


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_open_fasta__wants_a_readable_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.fa"
    if what == "folder":
        path.mkdir()
    with pytest.raises(SourceError, match="no readable file"):
        _sequences(path)


@pytest.mark.parametrize("pack", [_plain, _bgzf])
def test_open_fasta__makes_an_index_beside_the_file_and_renews_an_old_one(
    tmp_path: Path, pack: Packing
) -> None:
    path = tmp_path / "x.fa"
    pack(path, b">a\nACGT\n")
    assert _sequences(path) == {"a": b"ACGT"}
    index = Path(f"{path}.fai")
    assert index.read_text().split("\t")[:2] == ["a", "4"]
    pack(path, b">other\nACGTACGT\n")
    newer = index.stat().st_mtime + 10
    os.utime(path, (newer, newer))
    assert _sequences(path) == {"other": b"ACGTACGT"}


@pytest.mark.parametrize("pack", [_plain, _bgzf])
@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.splitlines(keepends=True)[0],
        lambda index: "".join(index.splitlines(keepends=True)[1:]),
        lambda index: index.replace("\t90000\t", "\t89999\t"),
        lambda index: index.replace("c\t9\t", "c\t8\t"),
        lambda index: index.replace("b\t", "d\t"),
        lambda index: index.replace("\t60\t61", "\t61\t62"),
        lambda index: "not an index\n",
        lambda index: "a\tmany\t3\t60\t61\n",
        lambda index: "",
    ],
)
def test_open_fasta__renews_an_index_that_is_not_the_files(
    tmp_path: Path, pack: Packing, change: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    path, index = tmp_path / "x.fa", tmp_path / "x.fa.fai"
    lines = b"\n".join([b"ACGTTGCAAG" * 6] * 1500)
    pack(path, b">a some text\nACGT\n>b\n" + lines + b"\n\n>c\nACGTACGTA\n")
    whole = _sequences(path)
    assert {name: len(bases) for name, bases in whole.items()} == {"a": 4, "b": 90_000, "c": 9}
    right = index.read_text()
    changed = change(right)
    assert changed != right
    index.write_text(changed)
    assert _sequences(path) == whole
    assert index.read_text() == right
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pack", [_plain, _bgzf])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_open_fasta__keeps_an_index_that_is_the_files(tmp_path: Path, pack: Packing, end: bytes) -> None:
    path, index = tmp_path / "x.fa", tmp_path / "x.fa.fai"
    stop = b"\r\n" if end == b"\r\n" else b"\n"
    pack(path, stop.join([b">a x", b"ACGT", b"AC", b">b", b"ACGT"]) + end)
    whole = _sequences(path)
    made = index.stat().st_mtime_ns
    assert _sequences(path) == whole == {"a": b"ACGTAC", "b": b"ACGT"}
    assert index.stat().st_mtime_ns == made


@given(
    lines=st.lists(
        st.one_of(
            st.text("ACGT", min_size=0, max_size=9),
            st.from_regex(r">[a-z]{1,6}( [a-z>]{0,5})?", fullmatch=True),
        ),
        max_size=30,
    ),
    piece=st.integers(1, 40),
)
def test_read_names__finds_each_header_however_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], piece: int
) -> None:
    expected: dict[str, int] = {}
    kept = []
    for line in lines:
        if line.startswith(">") and line[1:].split()[0] in expected:
            continue
        kept.append(line)
        if line.startswith(">"):
            expected[line[1:].split()[0]] = len(kept)
    path = tmp_path_factory.getbasetemp() / "names.fa"
    if not any(kept):
        return  # an empty file is refused before its names are read
    path.write_text("\n".join(kept) + ("\n" if piece % 2 else ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta_text, "SCAN_BYTES", piece)
        assert fasta_text.read_names(path) == expected


@given(
    sequences=st.lists(
        st.lists(st.text("ACGTN", min_size=1, max_size=9), min_size=1, max_size=4)
        | st.lists(st.text("ACGTN", min_size=5, max_size=5), min_size=1, max_size=6),
        max_size=6,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    piece=st.integers(1, 30),
)
def test_open_fasta__gzip_is_unpacked_right_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[list[str]], end: str, last: bool, piece: int
) -> None:
    if not sequences:
        return  # an empty file is refused
    names = [f"s{index}" for index in range(len(sequences))]
    lines = [line for name, part in zip(names, sequences, strict=True) for line in (f">{name} x", *part)]
    path = tmp_path_factory.getbasetemp() / "cut.fa.gz"
    path.write_bytes(gzip.compress((end.join(lines) + (end if last else "")).encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta_unpack, "SCAN_BYTES", piece)
        with open_fasta(path) as fasta:
            whole = {name: "".join(part) for name, part in zip(names, sequences, strict=True)}
            assert fasta.sizes == {name: len(bases) for name, bases in whole.items()}
            for name, bases in whole.items():
                assert fasta.bases(name) == bases.encode()
                assert fasta.bases(name, 1, len(bases)) == bases[1:].encode()


@pytest.mark.parametrize("packing", ["plain", "gzip", "bgzf"])
def test_open_fasta__refuses_names_that_are_no_text(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "x.fa"
    write_fasta(path, b">chr1\nACGT\n>chr\xe9\nACGT\n", packing)
    with pytest.raises(SourceError, match="which is no text") as caught, open_fasta(path):
        pass
    assert caught.value.line == 3


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("name", [b"chr\x001", b"\x1b[31mred", b"a\x7f"])
def test_open_fasta__refuses_control_characters_in_names(tmp_path: Path, pack: Packing, name: bytes) -> None:
    pack(tmp_path / "x.fa", b">one\nACGT\n>" + name + b"\nACGT\n")
    with pytest.raises(SourceError, match=r"line 3: found sequence name .* which is no text"):
        _sequences(tmp_path / "x.fa")


def test_open_fasta__says_where_there_is_no_room_to_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, unpacked: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), None)

    monkeypatch.setattr("mfdstore.sources.fasta.unpack", full)
    _gzip(tmp_path / "x.fa.gz", b">one\nACGT\n")
    with pytest.raises(SourceError, match=r"no room in .* to unpack it .*TMPDIR"):
        _sequences(tmp_path / "x.fa.gz")


@pytest.mark.parametrize("pack", [_plain, _bgzf])
@pytest.mark.parametrize("sign", [b"\x00", b"\xe9"])
def test_open_fasta__names_the_line_of_a_sign_that_is_no_letter(
    tmp_path: Path, pack: Packing, sign: bytes
) -> None:
    for before, behind in ((1, 0), (1, 1000), (700, 3)):
        text = b">a\n" + b"ACGT\n" * before + b"AC" + sign + b"T\n"
        text += b"".join(b">c%d\nACGT\n" % index for index in range(behind))
        pack(tmp_path / "x.fa", text)
        with pytest.raises(SourceError, match="which is no letter") as caught:
            _sequences(tmp_path / "x.fa")
        assert caught.value.line == before + 2


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("text", [b">a\nACGT\rACGT\nACGT\n", b">a\r\nAG\r\nCT\xe9\nAG\r\n"])
def test_open_fasta__leaves_no_sign_out_without_a_word(tmp_path: Path, pack: Packing, text: bytes) -> None:
    pack(tmp_path / "x.fa", text)
    with pytest.raises(SourceError):
        _sequences(tmp_path / "x.fa")


def test_open_fasta__wants_a_file_that_can_be_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="a pipe or a device"):
        _sequences(tmp_path / "pipe")
