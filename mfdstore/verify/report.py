"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass

from mfdstore.manifest import FaultKind
from mfdstore.places.address import Place


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
class Damage:
    """One file that is not as it was written, and what of the store it holds.

    Parameters
    ----------
    file
        Relative to the store.
    fault
        ``damaged``, ``missing``, or ``added``: not of the store.
    detail
        What is wrong with the file.
    holds
        What is lost with it, in words.
    array
        Array or group that it belongs to; empty for the root, and for what is not of the store.
    n_chunks, n_bad_chunks
        Chunks in the file, and those whose checksum does not hold; all, where that cannot be told.
    chunks
        The bad ones: their places within the file.
    windows
        First window and window behind of each stretch that is lost.
    regions
        The same as places of the genome, 0-based half-open bp; of the sequence, its positions.
    experiments
        Accessions whose labels or factors are lost; empty if those of all are, or none.
    """

    file: str
    fault: FaultKind
    detail: str
    holds: str
    array: str = ""
    n_chunks: int = 0
    n_bad_chunks: int = 0
    chunks: tuple[tuple[int, ...], ...] = ()
    windows: tuple[tuple[int, int], ...] = ()
    regions: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifyReport:
    """All findings on one store.

    Parameters
    ----------
    path
        Of the store.
    findings
        Checks, in the order that they were made.
    damage
        Files that are not as they were written.
    """

    path: Place
    findings: tuple[Finding, ...]
    damage: tuple[Damage, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether no check failed and no file is damaged."""
        return not self.damage and all(finding.sound is not False for finding in self.findings)
