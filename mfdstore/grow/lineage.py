"""What a store says of how its windows were chosen, and what a child says of its parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfdstore.errors import ConfigError
from mfdstore.provenance import versions
from mfdstore.store import Store


@dataclass(frozen=True)
class Rule:
    """Which bins the windows of a store are.

    Parameters
    ----------
    least
        So many experiments label each window: the attribute `min_experiments`.
    why
        Why a bin that passes all filters may not be a window; empty if each is one.
    blacklist
        The file that took bins away, as provenance notes it; `None` if there was none.
    settings
        Of the build that gives these windows and splits; `None` if there is none or it is not known.
    """

    least: int
    why: str
    blacklist: Mapping[str, Any] | None
    settings: Mapping[str, Any] | None

    @property
    def complete(self) -> bool:
        """Whether each bin that passes all filters is a window, on the chromosomes of the store."""
        return not self.why


def rule_of(store: Store) -> Rule:
    """Read how the windows of a store were chosen; what it does not say is not taken for granted."""
    noted, settings = store.provenance.get("windows"), _mapping(store, "settings")
    blacklist = _mapping(store, "blacklist")
    if isinstance(noted, dict):
        why = (
            ""
            if noted.get("complete") is True
            else str(noted.get("why") or "it does not say how they were chosen")
        )
    else:
        # a build notes its peak files, and its blacklist even where there is none
        is_build = settings is not None and {"peaks", "blacklist"} <= store.provenance.keys()
        why = "" if is_build else "it does not say how they were chosen"
    return Rule(store.min_experiments, why, blacklist, None if why else settings)


def same_blacklist(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Say whether two notes mean one file, or both none."""
    return (first or {}).get("md5") == (second or {}).get("md5") and (first is None) == (second is None)


def peaks_of(store: Store) -> Mapping[str, Mapping[str, Any]]:
    """Give what a store notes of the peak file of each of its experiments, as far as it does."""
    peaks = _mapping(store, "peaks") or {}
    return {name: peaks[name] for name in store.experiments if isinstance(peaks.get(name), dict)}


def together(stores: Sequence[Store]) -> dict[str, Mapping[str, Any]]:
    """Put together what stores note of their peak files.

    Raises
    ------
    ConfigError
        If they note different files for one experiment.
    """
    peaks: dict[str, Mapping[str, Any]] = {}
    origin: dict[str, Store] = {}
    for store in stores:
        for name, entry in peaks_of(store).items():
            before = peaks.setdefault(name, entry)
            origin.setdefault(name, store)
            if before.get("md5") != entry.get("md5"):
                raise ConfigError(
                    str(store.path),
                    found=f"experiment {name} from a file of md5 {entry.get('md5')}, "
                    f"in {origin[name].path} of md5 {before.get('md5')}",
                    expected="one file for one experiment",
                    remedy="Leave it out of one of them by `mfdstore subset`.",
                )
    return peaks


def provenance(
    made_by: str,
    parents: Sequence[Store],
    *,
    asked: Mapping[str, Any],
    rule: Rule,
    peaks: Mapping[str, Any],
    counts: Mapping[str, int],
    added: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say where a child store comes from: as a build does, and what was done to which parents.

    Parameters
    ----------
    made_by
        The command.
    parents
        Stores it was made of.
    asked
        What was asked of the command.
    rule
        Which bins the child's windows are.
    peaks
        Peak file of each of its experiments.
    counts
        What was kept and left out.
    added
        Sources beside the parents.
    """
    described: dict[str, Any] = {
        "made_by": made_by,
        "asked": dict(asked),
        "parents": [
            {
                "name": parent.name,
                "digest": parent.digest,
                "n_windows": parent.n_windows,
                "n_experiments": parent.n_experiments,
                # what the parent says of its peak files stands once, for those experiments that the child has
                "provenance": {key: value for key, value in parent.provenance.items() if key != "peaks"},
            }
            for parent in parents
        ],
        "windows": {"complete": rule.complete, "why": rule.why},
        "fasta": next(
            (parent.provenance["fasta"] for parent in parents if "fasta" in parent.provenance), None
        ),
        "blacklist": dict(rule.blacklist) if rule.blacklist is not None else None,
        "peaks": {name: dict(entry) for name, entry in peaks.items()},
        "counts": dict(counts),
        "versions": versions(),
    }
    if rule.settings is not None:
        described["settings"] = dict(rule.settings)
    return described | dict(added or {})


def join_reasons(reasons: Iterable[str]) -> str:
    """Write several reasons as one, each once."""
    return "; ".join(reason for reason in dict.fromkeys(reasons) if reason)


def _mapping(store: Store, key: str) -> Mapping[str, Any] | None:
    value = store.provenance.get(key)
    return value if isinstance(value, dict) else None
