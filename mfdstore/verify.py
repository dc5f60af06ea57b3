"""Reads a store back and holds it against itself and against its sources.

Against itself: every chunk's checksum, every array's digest, and that counts and layouts agree. Against the
sources: the sequence base by base from the FASTA, and every label from the peak files. The files are read by the
readers of the build; codes and labels are then computed by a second way that shares nothing with it: strings
compare bases, and pyranges joins peaks with tiled bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfdstore import schema
from mfdstore.dinucleotides import BLANK
from mfdstore.errors import ConfigError, SourceError, StoreError
from mfdstore.genomes import Genome
from mfdstore.labels import count_positive, transpose_bits
from mfdstore.overlaps import label_bins_by_join
from mfdstore.provenance import combine_digests, digest_values
from mfdstore.sources.bed import peak_stem, read_intervals
from mfdstore.sources.fasta import open_fasta
from mfdstore.store import Store

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """One check and how it ended.

    Parameters
    ----------
    check
        What was held against what.
    sound
        Whether it held; `None` where it could not be checked.
    detail
        How much was compared, what is wrong where, or what the check would need.
    """

    check: str
    sound: bool | None
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """All findings on one store."""

    path: Path
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(finding.sound is not False for finding in self.findings)


def verify_store(
    path: Path,
    *,
    peaks: Path | None = None,
    fasta: Path | None = None,
    blacklist: Path | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> VerifyReport:
    """Check a store, as far as the sources given allow.

    Parameters
    ----------
    path
        Of the store.
    peaks
        Folder of the peak files: recomputes every label, and which bins are kept.
    fasta
        The genome: compares every base.
    blacklist
        The BED file of the build, if it had one: needed with `peaks` to recompute which bins are kept.

    Raises
    ------
    ConfigError
        If there is a blacklist without peaks, which would not be read.
    StoreError
        If the store cannot be opened at all; damage within is a finding, not an error.
    SourceError
        If a source cannot be read.
    """
    if blacklist is not None and peaks is None:
        raise ConfigError(
            "--blacklist",
            found="no --peaks beside it",
            expected="the peaks too: which bins should be kept is known from both",
            remedy="Pass --peaks, or leave out --blacklist.",
        )
    store = Store(path)
    findings = list(_check_arrays(store, on_progress))
    if all(finding.sound for finding in findings):
        findings += _check_consistency(store)
    # sources are read only for what the attributes describe as it is
    if any(finding.check == "attributes" and finding.sound for finding in findings):
        if fasta is not None:
            findings += _check_sequence(store, fasta, on_progress)
        if peaks is not None:
            findings += _check_labels(store, peaks, blacklist, on_progress)
    return VerifyReport(path, tuple(findings))


def _check_arrays(store: Store, on_progress: Progress) -> Iterator[Finding]:
    """Read every array in full: chunk checksums on the way, then the digest of the whole."""
    digests = {}
    for done, (name, expected) in enumerate(store.array_digests.items(), start=1):
        try:
            found = digest_values(store.read(name))
        except StoreError as error:
            yield Finding(f"array {name}", False, error.found)
            found = ""
        if found and found != expected:
            yield Finding(f"array {name}", False, f"its values have digest {found[:12]}, not {expected[:12]}")
        digests[name] = found
        on_progress("arrays", done, len(store.array_digests))
    if digests == dict(store.array_digests):
        whole = combine_digests(digests, store.attributes) == store.digest
        detail = f"{len(digests)} arrays read, checksums and digests hold"
        yield Finding(
            "arrays",
            whole,
            detail if whole else "the store's digest is not that of its arrays and attributes",
        )


def _check_consistency(store: Store) -> Iterator[Finding]:
    try:
        windows, factors, bits = store.windows, store.factors, store.label_bits()
    except StoreError as error:
        yield Finding("attributes", False, error.found)
        return
    shapes = (
        len(windows) == store.n_windows
        and bits.shape == (store.n_windows, schema.n_bytes(store.n_experiments))
        and len(store.experiments) == store.n_experiments
        and bool((store.read(schema.END) == windows.end).all())
        and all(
            store.array(factor.name).attrs.get("role") == (factor.role or "")
            and store.array(factor.name).attrs.get("kind") == factor.kind
            for factor in factors
        )
        and all(
            store.array(f"{schema.SEQUENCE}/{chrom}").shape == (size,)
            for chrom, size in zip(store.chroms, store.chrom_sizes, strict=True)
        )
    )
    yield Finding("attributes", shapes, "agree with the arrays" if shapes else "do not agree with the arrays")
    if not shapes:
        return
    order = np.lexsort((windows.start, windows.chrom))
    key = windows.chrom.astype(np.int64) << 32 | windows.start
    ordered = bool((order == np.arange(len(windows))).all() and (np.diff(key) > 0).all())
    yield Finding(
        "windows", ordered, f"{len(windows):,}, ascending, each once" if ordered else "not ascending"
    )
    sizes = np.array(store.chrom_sizes)[windows.chrom]
    inside = bool(((windows.start >= 0) & (windows.end <= sizes)).all())
    yield Finding(
        "bins", inside, "within their chromosomes" if inside else "some reach beyond their chromosome"
    )
    counted = bool((count_positive(bits) == store.n_positive).all())
    yield Finding("n_positive", counted, f"{int(store.n_positive.sum()):,} positive pairs")
    turned = transpose_bits(bits, store.n_experiments)
    same = bool(np.array_equal(turned, store.read(schema.LABEL_BITS_BY_EXPERIMENT)))
    yield Finding(
        "labels by experiment", same, "equal to labels by window" if same else "differ from those by window"
    )


def _check_sequence(store: Store, path: Path, on_progress: Progress) -> Iterator[Finding]:
    """Compare codes with bases, by strings: independent of `dinucleotides.encode_bases`."""
    table = {
        first + second: index for index, (first, second) in enumerate((a, b) for a in "ACGT" for b in "ACGT")
    }
    with open_fasta(path) as fasta:
        genome = Genome.from_fasta(store.genome, fasta.sizes, str(path))
        for done, (chrom, size) in enumerate(zip(store.chroms, store.chrom_sizes, strict=True), start=1):
            if genome.sizes.get(chrom) != size:
                yield Finding(
                    f"sequence of {chrom}", False, f"{genome.sizes.get(chrom)} bp in the FASTA, not {size}"
                )
                continue
            text = np.frombuffer(fasta.bases(genome.fasta_names[chrom]).upper(), np.uint8)
            pairs = text[:-1].astype(np.uint16) << 8 | text[1:]
            codes = store.codes(chrom)
            expected = np.full(size, BLANK, np.uint8)
            for pair, code in table.items():
                expected[:-1][pairs == (ord(pair[0]) << 8 | ord(pair[1]))] = code
            wrong = np.flatnonzero(codes != expected)
            detail = (
                f"{size:,} positions agree"
                if not len(wrong)
                else f"{len(wrong):,} differ, first at {wrong[0]:,}"
            )
            yield Finding(f"sequence of {chrom}", not len(wrong), detail)
            on_progress("sequence", done, len(store.chroms))


def _check_labels(
    store: Store, folder: Path, blacklist: Path | None, on_progress: Progress
) -> Iterator[Finding]:
    """Recompute labels of every tiled bin by pyranges, and which bins pass the filters."""
    genome = Genome(store.genome, dict(zip(store.chroms, store.chrom_sizes, strict=True)), {})
    if not folder.is_dir():
        raise SourceError(
            folder,
            found="no such folder",
            expected="the folder of the peak files that the store was built from",
            remedy="Check the path given to --peaks.",
        )
    files = {stem: path for path in sorted(folder.iterdir()) if (stem := peak_stem(path)) is not None}
    lacking = [name for name in store.experiments if name not in files]
    if lacking:
        raise SourceError(
            folder,
            found=f"no peak file for {lacking[0]}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            expected="the peak files that the store was built from",
            remedy="Check the path given to --peaks.",
        )
    recorded = _recorded_md5(store)
    changed = []
    labels = _BinLabels(store)
    for done, (index, name) in enumerate(enumerate(store.experiments), start=1):
        intervals = read_intervals(files[name], genome, may_be_elsewhere=True)
        if intervals.file.md5 != recorded.get(name):
            changed.append(name)
        labels.add(index, intervals.by_chrom)
        on_progress("experiments", done, store.n_experiments)
    yield Finding(
        "peak files",
        not changed,
        f"{store.n_experiments} files, md5 as recorded"
        if not changed
        else f"not those that the store notes: {', '.join(changed[:5])}",
    )
    yield labels.compare()
    yield _check_filters(store, labels, blacklist)


def _recorded_md5(store: Store) -> dict[str, str]:
    """Look up the md5 of each peak file as the build noted it; of those that it did not note, nothing."""
    peaks = store.provenance.get("peaks")
    entries = peaks.items() if isinstance(peaks, dict) else ()
    return {name: entry["md5"] for name, entry in entries if isinstance(entry, dict) and "md5" in entry}


class _BinLabels:
    """Labels of all tiled bins of a store's chromosomes, filled experiment by experiment through pyranges."""

    def __init__(self, store: Store) -> None:
        self._store = store
        counts = [size // store.bin_size for size in store.chrom_sizes]
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.n_labels = np.zeros(self.offsets[-1], np.int64)
        self.window_of_bin = np.full(self.offsets[-1], -1, np.int64)
        windows = store.windows
        bins = self.offsets[windows.chrom] + windows.start // store.bin_size
        self.window_of_bin[bins] = np.arange(store.n_windows)
        self._wrong: list[str] = []
        self._n_pairs = 0

    def add(self, experiment: int, by_chrom: Any) -> None:
        """Join one experiment's peaks with the bins; compare its column of the store bit by bit."""
        labelled = np.zeros(self.offsets[-1], np.bool_)
        for index, chrom in enumerate(self._store.chroms):
            if chrom not in by_chrom:
                continue
            begin, end = self.offsets[index], self.offsets[index + 1]
            labelled[begin:end] = label_bins_by_join(
                chrom,
                *by_chrom[chrom],
                n_bins=int(end - begin),
                bin_size=self._store.bin_size,
                min_overlap=self._store.min_overlap,
            )
        self.n_labels += labelled
        windows = self.window_of_bin[labelled]
        expected = np.zeros(self._store.n_windows, np.bool_)
        expected[windows[windows >= 0]] = True
        self._n_pairs += int(expected.sum())
        n_wrong = int((self._store.labels_of(experiment) != expected).sum())
        if n_wrong:
            self._wrong.append(f"{self._store.experiments[experiment]} ({n_wrong:,} windows)")

    def compare(self) -> Finding:
        """Sum up: labels of the store against those of pyranges."""
        if self._wrong:
            shown = ", ".join(self._wrong[:5])
            return Finding("labels from peaks", False, f"{len(self._wrong)} experiment(s) differ: {shown}")
        detail = f"{self._n_pairs:,} positive pairs recomputed by pyranges, every bit agrees"
        return Finding("labels from peaks", True, detail)


def _check_filters(store: Store, labels: _BinLabels, blacklist: Path | None) -> Finding:
    """Hold the bins that are kept against those that should be."""
    noted = store.provenance.get("blacklist")
    if noted is None and blacklist is not None:
        return Finding(
            "filters", False, f"the store notes no blacklist, so it was not built with {blacklist}"
        )
    should = labels.n_labels >= store.min_experiments
    for index, chrom in enumerate(store.chroms):
        blank = np.flatnonzero(store.codes(chrom) == BLANK) // store.bin_size
        begin, end = labels.offsets[index], labels.offsets[index + 1]
        should[begin + blank[blank < end - begin]] = False
    if noted is not None:
        if blacklist is None:
            return Finding("filters", None, "pass --blacklist, which the build had")
        genome = Genome(store.genome, dict(zip(store.chroms, store.chrom_sizes, strict=True)), {})
        listed = read_intervals(blacklist, genome, may_be_elsewhere=True)
        if not isinstance(noted, dict) or listed.file.md5 != noted.get("md5"):
            return Finding(
                "filters", False, f"{blacklist} is not the blacklist of the build: its md5 differs"
            )
        for index, chrom in enumerate(store.chroms):
            begin, end = labels.offsets[index], labels.offsets[index + 1]
            for first, last in zip(*listed.by_chrom.get(chrom, ((), ())), strict=True):
                should[
                    begin + first // store.bin_size : min(begin + (last - 1) // store.bin_size + 1, end)
                ] = False
    kept = labels.window_of_bin >= 0
    if np.array_equal(kept, should):
        return Finding(
            "filters", True, f"{int(kept.sum()):,} of {len(kept):,} bins pass, and they are the windows"
        )
    chosen = store.provenance.get("windows")
    if isinstance(chosen, dict) and chosen.get("complete") is False and not (kept & ~should).any():
        why = f"{int((should & ~kept).sum()):,} other bins that would were left out: {chosen.get('why')}"
        return Finding("filters", True, f"{int(kept.sum()):,} windows all pass; {why}")
    detail = f"{int((kept & ~should).sum()):,} windows should not be kept, {int((should & ~kept).sum()):,} are missing"
    return Finding("filters", False, detail)
