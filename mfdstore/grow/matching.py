"""The windows of several stores: which of them a store of all experiments can hold, and what each store knows of them.

Stores of the same experiments are one group: what one of them holds, the others need not. Of different groups
either all must hold a window, or it must be known that those that do not hold it have no peak in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.grow.content import read_rows
from mfdstore.grow.lineage import Rule, join_reasons, rule_of, same_blacklist
from mfdstore.labels import pack_labels, unpack_labels
from mfdstore.store import Store
from mfdstore.windows import WindowTable

WindowChoice = Literal["intersection", "union"]
SplitChoice = Literal["agree", "first"]
_UNKNOWN = 2
"""Stands for a label that no store has told yet."""


@dataclass(frozen=True)
class Member:
    """One store among those that are put together.

    Parameters
    ----------
    store
        The store.
    group
        Number of its group.
    columns
        Place in the child of each of its experiments, shape ``(experiment,)``.
    shares
        Whether a store before it has any of these experiments.
    """

    store: Store
    group: int
    columns: NDArray[np.int64]
    shares: bool

    def span(self, chrom: str) -> tuple[int, int]:
        """Give the first window on a chromosome and the first behind them; nothing where it has no such one."""
        if chrom not in self.store.chroms:
            return 0, 0
        code = self.store.chroms.index(chrom)
        begin, end = np.searchsorted(self.store.windows.chrom, [code, code + 1])
        return int(begin), int(end)

    def starts(self, chrom: str) -> NDArray[np.int32]:
        """Give the starts of its bins on a chromosome, ascending, shape ``(window,)``."""
        begin, end = self.span(chrom)
        return self.store.windows.start[begin:end]

    def find(self, chrom: str, starts: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Find bins among its windows: which of them it holds, and the rows of those."""
        mine = self.starts(chrom)
        places = np.searchsorted(mine, starts)
        held = places < len(mine)
        held[held] = mine[places[held]] == starts[held]
        return held, self.span(chrom)[0] + places[held].astype(np.int64)


def gather(stores: Sequence[Store], experiments: Sequence[str]) -> tuple[Member, ...]:
    """Put stores of the same experiments into groups, and find the place of each experiment."""
    place = {name: index for index, name in enumerate(experiments)}
    groups: dict[frozenset[str], int] = {}
    seen: set[str] = set()
    members = []
    for store in stores:
        names = frozenset(store.experiments)
        columns = np.array([place[name] for name in store.experiments], np.int64)
        members.append(Member(store, groups.setdefault(names, len(groups)), columns, bool(names & seen)))
        seen |= names
    return tuple(members)


def match_windows(
    members: Sequence[Member], chroms: Sequence[str], windows: WindowChoice, splits: SplitChoice
) -> WindowTable:
    """Find the windows of the child, chromosome by chromosome.

    Parameters
    ----------
    members
        The stores.
    chroms
        Of the child.
    windows
        Those that all groups hold, or those that any holds.
    splits
        Whether stores must agree on the split of a window, or the first that holds it tells.

    Raises
    ------
    ConfigError
        If labels of a window are not known, or stores do not agree on its split.
    """
    codes, starts, found_splits = [], [], []
    for code, chrom in enumerate(chroms):
        groups = [
            reduce(np.union1d, (member.starts(chrom) for member in mine)) for mine in _by_group(members)
        ]
        if windows == "intersection":
            found = reduce(np.intersect1d, groups)
        else:
            found = reduce(np.union1d, groups)
            for mine, held in zip(_by_group(members), groups, strict=True):
                if len(held) < len(found):
                    _check_absence(members, mine, chrom, len(found) - len(held))
        found = found.astype(np.int32)
        codes.append(np.full(len(found), code, np.int16))
        starts.append(found)
        found_splits.append(_splits(members, chrom, found, splits))
    bin_size = members[0].store.bin_size
    return WindowTable(
        tuple(chroms), np.concatenate(codes), np.concatenate(starts), np.concatenate(found_splits), bin_size
    )


def _by_group(members: Sequence[Member]) -> list[list[Member]]:
    n_groups = max(member.group for member in members) + 1
    return [[member for member in members if member.group == group] for group in range(n_groups)]


def _check_absence(members: Sequence[Member], mine: Sequence[Member], chrom: str, n: int) -> None:
    """Refuse bins that a group does not hold, unless that says that none of its experiments labels them.

    That is so where a store of the group holds every bin that any one of its experiments labels, and what else
    takes bins away (blank bases, the blacklist) took the same from all stores.
    """
    blacklists = [rule_of(member.store).blacklist for member in members]
    reasons = []
    for member in mine:
        rule = rule_of(member.store)
        if chrom not in member.store.chroms:
            reasons.append(f"it does not hold {chrom}")
        elif not rule.complete:
            reasons.append(f"bins are lacking in it for other reasons ({rule.why})")
        elif rule.least > 1:
            reasons.append(
                f"it leaves out bins that fewer than {rule.least} of its experiments label, so some may"
            )
        elif rule.least == 0:
            reasons.append("it was built of all bins, so another filter took them")
        elif not all(same_blacklist(rule.blacklist, other) for other in blacklists):
            reasons.append("the stores were built with different blacklists")
        else:
            return
    raise ConfigError(
        str(mine[0].store.path),
        found=f"{n:,} windows of the other stores on {chrom} that it lacks",
        expected=f"labels of its experiments in them, but they are not known: {reasons[0]}",
        remedy="Use --windows intersection; or build it with --min-experiments 1; or `mfdstore add` experiments with "
        "the old peak files.",
    )


def _splits(
    members: Sequence[Member], chrom: str, starts: NDArray[np.int32], choice: SplitChoice
) -> NDArray[np.int8]:
    """Look up the split of each window, shape ``(window,)``."""
    splits = np.full(len(starts), -1, np.int8)
    origin = np.full(len(starts), -1, np.int16)
    for index, member in enumerate(members):
        held, rows = member.find(chrom, starts)
        theirs = member.store.windows.split[rows]
        mine = splits[held]
        differ = (mine >= 0) & (mine != theirs)
        if choice == "agree" and differ.any():
            at = np.flatnonzero(held)[np.argmax(differ)]
            first, second = (schema.SPLITS[code] for code in (splits[at], theirs[np.argmax(differ)]))
            raise ConfigError(
                str(member.store.path),
                found=f"{int(differ.sum()):,} windows on {chrom} of another split than in "
                f"{members[origin[at]].store.path}, such as {chrom}:{starts[at]:,}, {second} here and {first} there",
                expected="one split for a window",
                remedy="Build them with the same --split-valid and --split-test, or pass --splits first.",
            )
        new = held.copy()
        new[held] = mine < 0
        splits[new] = theirs[mine < 0]
        origin[new] = index
    return splits


class MatchedLabels:
    """Labels of all experiments in the windows of the child.

    Parameters
    ----------
    members
        The stores.
    windows
        Of the child.
    experiments
        Of the child.
    """

    def __init__(self, members: Sequence[Member], windows: WindowTable, experiments: Sequence[str]) -> None:
        self._members = members
        self._windows = windows
        self._experiments = experiments

    def rows(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Give packed labels of windows [begin, end) of one chromosome, shape ``(window, label_byte)``.

        Raises
        ------
        ConfigError
            If two stores tell different labels of one experiment.
        """
        chrom = self._windows.chroms[self._windows.chrom[begin]]
        starts = self._windows.start[begin:end]
        labels = np.full((len(starts), len(self._experiments)), _UNKNOWN, np.uint8)
        absent: dict[int, NDArray[np.bool_]] = {}
        for member in self._members:
            held, rows = member.find(chrom, starts)
            absent[member.group] = absent.get(member.group, True) & ~held
            if not len(rows):
                continue
            told = unpack_labels(read_rows(member.store, rows), member.store.n_experiments).view(np.uint8)
            at = _block(held, member.columns)
            if member.shares:
                before = labels[at]
                self._check(member, chrom, starts[held], (before != _UNKNOWN) & (before != told))
            labels[at] = told
        for member in self._members:
            # what no store of a group holds, none of its experiments labels: `match_windows` saw to that
            lacking = absent.pop(member.group, None)
            if lacking is not None and lacking.any():
                at = _block(lacking, member.columns)
                self._check(member, chrom, starts[lacking], labels[at] == 1)
                labels[at] = 0
        if (labels == _UNKNOWN).any():  # pragma: no cover - a fault of this module
            raise AssertionError("a label that no store tells")
        return pack_labels(labels.view(np.bool_))

    def _check(self, member: Member, chrom: str, starts: NDArray[np.int32], clash: NDArray[np.bool_]) -> None:
        if not clash.any():
            return
        window, column = (int(places[0]) for places in np.nonzero(clash))
        raise ConfigError(
            str(member.store.path),
            found=f"another label of experiment {self._experiments[member.columns[column]]} at "
            f"{chrom}:{starts[window]:,} than in the stores before it",
            expected="the same labels wherever an experiment stands in several stores",
            remedy="Leave it out of one of them by `mfdstore subset`.",
        )


def _block(rows: NDArray[np.bool_], columns: NDArray[np.int64]) -> tuple[Any, ...]:
    """Give an index of some rows and columns; slices where they lie together, which is many times faster."""
    first, last = int(columns[0]), int(columns[-1])
    together = last - first + 1 == len(columns) and bool((np.diff(columns) == 1).all())
    if rows.all():
        return slice(None), slice(first, last + 1) if together else columns
    if together:
        return rows, slice(first, last + 1)
    return np.ix_(rows, columns)


def merged_rule(members: Sequence[Member], windows: WindowTable, choice: WindowChoice) -> Rule:
    """Say which bins the windows of the child are."""
    groups = [_rule_of_group(mine, windows) for mine in _by_group(members)]
    if len(groups) == 1:
        return groups[0]
    least = [group.least for group in groups]
    same = all(same_blacklist(groups[0].blacklist, group.blacklist) for group in groups)
    blacklist = next((group.blacklist for group in groups if group.blacklist is not None), None)
    reasons = [group.why for group in groups]
    if not same:
        reasons.append("the stores were built with different blacklists")
    if choice == "intersection":
        now = max(least)
        if now > 0:
            reasons.append("windows were kept that all of several stores held")
    else:
        now = min(least)
        if now > 0 and max(least) > 1:
            reasons.append("windows were kept that any of several stores held")
    why = join_reasons(reasons)
    settings = None if why else _common_settings(groups, windows, now)
    if settings is not None and settings.get("blocks") is not None:
        settings = None  # a build would cut other blocks
    return Rule(now, why, blacklist, settings)


def _rule_of_group(mine: Sequence[Member], windows: WindowTable) -> Rule:
    rules = [rule_of(member.store) for member in mine]
    reasons = []
    least = min(rule.least for rule in rules)
    for chrom in windows.chroms:
        on = [rule for member, rule in zip(mine, rules, strict=True) if chrom in member.store.chroms]
        if on and not any(rule.complete and rule.least == least for rule in on):
            reasons += [
                rule.why or f"on {chrom} they were chosen by --min-experiments {rule.least}" for rule in on
            ]
    blacklist = rules[0].blacklist
    if not all(same_blacklist(blacklist, rule.blacklist) for rule in rules):
        reasons.append("the stores were built with different blacklists")
        blacklist = None
    why = join_reasons(reasons)
    return Rule(least, why, blacklist, None if why else _common_settings(rules, windows, least))


def _common_settings(rules: Sequence[Rule], windows: WindowTable, least: int) -> dict[str, object] | None:
    own = {"chroms": list(windows.chroms), "min_experiments": least}
    settings = [{**rule.settings, **own} if rule.settings is not None else None for rule in rules]
    first = settings[0]
    return first if all(entry == first for entry in settings) else None


def count_left_out(members: Sequence[Member], windows: WindowTable) -> Iterator[int]:
    """Count, for each store, its windows that are none of the child's."""
    for member in members:
        n_held = 0
        for code, chrom in enumerate(windows.chroms):
            begin, end = np.searchsorted(windows.chrom, [code, code + 1])
            n_held += int(member.find(chrom, windows.start[begin:end])[0].sum())
        yield member.store.n_windows - n_held
