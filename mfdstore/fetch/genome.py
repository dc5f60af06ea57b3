"""A genome in the cache: FASTA, lengths of its sequences, blacklist; downloaded once, checked each time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from isal import igzip

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome, find_assembly, some
from mfdstore.sources.cache import cached, held
from mfdstore.sources.downloads import Wanted, check_name
from mfdstore.sources.fasta import open_fasta
from mfdstore.sources.fasta_text import GZIP_DAMAGE
from mfdstore.sources.releases import Release, Sites, known_release
from mfdstore.sources.web import Web

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is (0 if that is not known)."""

_UNPACKED_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class FetchedGenome:
    """Files of a genome.

    Parameters
    ----------
    name
        Of the genome.
    fasta
        Unpacked, with its index beside it: so a build reads one chromosome at a time.
    sizes
        Table of names and lengths in bp of all sequences of the FASTA, without a header.
    blacklist
        `None` where none is published.
    chroms
        The primary chromosomes; of a genome of the user's own, all sequences.
    """

    name: str
    fasta: Path
    sizes: Path
    blacklist: Path | None
    chroms: tuple[str, ...]


def genome_folder(cache: Path, name: str) -> Path:
    """Give the folder of a genome in the cache."""
    return cache / "genomes" / check_name(name)


def fetch_genome(
    name: str, cache: Path, *, web: Web, sites: Sites, on_progress: Progress = lambda what, done, total: None
) -> FetchedGenome:
    """Have a published genome in the cache.

    Parameters
    ----------
    name
        Any name of a known assembly.
    cache
        Folder of the cache.
    web
        The client.
    sites
        Where to ask.
    on_progress
        Called as `Progress` says, in millions of bytes.

    Raises
    ------
    ConfigError
        If the assembly is not known.
    DownloadError
        If a file does not come or is not what is published.
    SourceError
        If the FASTA's chromosomes are not those of the assembly.
    """
    release = known_release(name)
    folder = genome_folder(cache, release.name)
    with held(folder):
        digest = release.fasta_digest or _published_digest(release, folder, web, sites)
        wanted = Wanted(
            release.fasta_address(sites),
            folder / f"{release.name}.fa.gz",
            digest,
            release.fasta_size,
            "UCSC",
        )
        fasta = _unpack(cached(web, wanted, _megabytes(wanted.path.name, on_progress)), on_progress)
        blacklist = None
        if release.has_blacklist:
            address = release.blacklist_address(sites)
            path = folder / Path(urlsplit(address).path).name
            listed = Wanted(address, path, release.blacklist_digest, source="the registry of assemblies")
            blacklist = cached(web, listed)
        sizes = _check_fasta(release.name, fasta, on_progress)
        return FetchedGenome(release.name, fasta, sizes, blacklist, tuple(release.assembly.sizes))


def fetch_own_genome(
    name: str,
    address: str,
    digest: str | None,
    cache: Path,
    *,
    web: Web,
    on_progress: Progress = lambda what, done, total: None,
) -> FetchedGenome:
    """Have a FASTA of the user's own choice in the cache.

    Parameters
    ----------
    name
        Of the genome; if it is that of a known assembly, the chromosomes must have its lengths.
    address
        Of the FASTA, plain, gzip or BGZF.
    digest
        ``md5:...`` or ``sha256:...``; `None` to take what comes.
    cache, web, on_progress
        As in `fetch_genome`.

    Raises
    ------
    DownloadError, SourceError
        As in `fetch_genome`.
    """
    folder = genome_folder(cache, name)
    file_name = check_name(unquote(Path(urlsplit(address).path).name))
    with held(folder):
        wanted = Wanted(address, folder / file_name, digest, source="--digest")
        fasta = _unpack(cached(web, wanted, _megabytes(file_name, on_progress)), on_progress)
        sizes = _check_fasta(name, fasta, on_progress)
        assembly = find_assembly(name)
        names = [line.split("\t")[0] for line in sizes.read_text().splitlines()]
        return FetchedGenome(name, fasta, sizes, None, tuple(assembly.sizes) if assembly else tuple(names))


def _published_digest(release: Release, folder: Path, web: Web, sites: Sites) -> str:
    """Read what UCSC publishes beside the FASTA; kept, so that later checks are of the same."""
    address = release.md5sum_address(sites)
    listed = cached(web, Wanted(address, folder / "md5sum.txt"))
    name = f"{release.name}.fa.gz"
    match = re.search(
        rf"^([0-9a-f]{{32}}) [ *](?:\./)?{re.escape(name)}\s*$", listed.read_text(errors="replace"), re.M
    )
    if match is None:
        listed.unlink()
        raise SourceError(
            address,
            found=f"no digest of {name}",
            expected="a line with its md5 and its name",
            remedy="Give the address of a FASTA and its digest: --fasta and --digest.",
        )
    return f"md5:{match[1]}"


def _megabytes(name: str, on_progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(f"{name}, MB", done // 1_000_000, total // 1_000_000)


def _unpack(packed: Path, on_progress: Progress) -> Path:
    """Unpack beside the file, under its name without ``.gz``, unless that is done; a plain file is as it is."""
    if packed.suffix != ".gz":
        return packed
    plain = packed.with_suffix("")
    if plain.is_file() and plain.stat().st_mtime_ns >= packed.stat().st_mtime_ns:
        return plain
    part = plain.with_name(f".{plain.name}.part")
    total = packed.stat().st_size
    try:
        with packed.open("rb") as raw, igzip.open(raw) as text, part.open("wb") as handle:
            while block := text.read(_UNPACKED_BYTES):
                handle.write(block)
                on_progress(f"unpacking {packed.name}, MB", raw.tell() // 1_000_000, total // 1_000_000)
            handle.flush()
            os.fsync(handle.fileno())
    except GZIP_DAMAGE as error:
        part.unlink(missing_ok=True)
        raise SourceError(
            packed,
            found=f"a damaged gzip file ({error})",
            expected="a FASTA, plain or gzip",
            remedy="Check its address, or give its digest; then remove the file and run the command again.",
        ) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(plain)) from error
    part.replace(plain)
    return plain


def _check_fasta(name: str, fasta: Path, on_progress: Progress) -> Path:
    """Hold a FASTA against its assembly, and write the lengths of its sequences beside it."""
    on_progress(f"index of {fasta.name}", 0, 1)
    with open_fasta(fasta) as opened:
        sizes = dict(opened.sizes)
    on_progress(f"index of {fasta.name}", 1, 1)
    genome = Genome.from_fasta(name, sizes, str(fasta))
    assembly = find_assembly(name)
    lacking = [chrom for chrom in assembly.sizes if chrom not in genome.sizes] if assembly else []
    if lacking:
        raise SourceError(
            fasta,
            found=f"no {some(lacking)}",
            expected=f"all chromosomes of {name}",
            remedy="Check the address of the FASTA, or give the genome a name of your own.",
        )
    table = fasta.with_name(f"{name}.chrom.sizes")
    part = table.with_name(f".{table.name}.part")
    part.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in sizes.items()))
    part.replace(table)
    return table
