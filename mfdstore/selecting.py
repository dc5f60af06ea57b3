"""Experiments and regions in the words of a command's options: accessions, values of factors, chr8:1-2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import ConfigError
from mfdstore.genomes import REGION_WORDS, Genome, parse_region, some
from mfdstore.metadata import Factor
from mfdstore.store import Store

_DATE: Final = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")
_SHOWN: Final = 20
"""Known names and values that a message lists."""


def select_experiments(
    store: Store, where: Sequence[tuple[str, str]], experiments: Sequence[str], *, option: str = "--where"
) -> NDArray[np.int64]:
    """Find the experiments wanted.

    Parameters
    ----------
    store
        Of the experiments.
    where
        Pairs of a factor and a value of it, or several values joined by commas. An experiment must have one of the
        values of each factor that is named; a missing value is none.
    experiments
        Accessions; all if empty.
    option
        That `where` was given by.

    Returns
    -------
    Their places in the store, ascending, shape ``(experiment,)``.

    Raises
    ------
    ConfigError
        If a name or value is none of the store's, or no experiment is left.
    """
    keep = np.ones(store.n_experiments, np.bool_)
    if experiments:
        place = {name: index for index, name in enumerate(store.experiments)}
        unknown = [name for name in experiments if name not in place]
        if unknown:
            raise ConfigError(
                "--experiments",
                found=f"{len(unknown)} that the store does not have: {some(map(repr, unknown))}",
                expected=f"accessions such as {some(store.experiments, 3)}",
                remedy=suggest(unknown[0], store.experiments),
            )
        keep[:] = False
        keep[[place[name] for name in experiments]] = True
    # values of one factor add up, factors narrow
    for name in dict.fromkeys(factor for factor, _ in where):
        factor = _find_factor(store, name, option)
        held = [_hold(factor, text, option) for wanted, text in where if wanted == name]
        keep &= np.logical_or.reduce(held)
    if not keep.any():
        asked = [f"{name}={text}" for name, text in where]
        raise ConfigError(
            f"{option} and --experiments" if experiments else option,
            found=f"no experiment that has all of {some(asked)}",
            expected="at least one experiment",
            remedy="Ask for less; values of one factor add up, but all factors must hold.",
        )
    return np.flatnonzero(keep)


def query_experiments(store: Store, queries: Sequence[str], *, option: str) -> NDArray[np.int64]:
    """Find the experiments that any of some queries means.

    Parameters
    ----------
    store
        Of the experiments.
    queries
        Each an accession, or what must hold together: ``target=CTCF & biosample=HepG2``. Values of one factor that
        may stand for each other are joined by commas: ``target=CTCF,MAX``. A ``&`` behind which no ``=`` follows is
        part of the value before it.
    option
        That they were given by.

    Returns
    -------
    Their places in the store, ascending, shape ``(experiment,)``.

    Raises
    ------
    ConfigError
        If one cannot be read, names a factor twice, or means no experiment.
    """
    found = np.zeros(store.n_experiments, np.bool_)
    for query in queries:
        if query.strip() in store.columns:
            found[store.columns[query.strip()]] = True
        elif "=" in query:
            found[select_experiments(store, _terms(store, query, option), (), option=option)] = True
        else:
            raise ConfigError(
                option,
                found=repr(query),
                expected="an accession of the store, or factors and values such as target=CTCF & biosample=HepG2",
                remedy=suggest(query.strip(), store.experiments),
            )
    return np.flatnonzero(found)


def _terms(store: Store, query: str, option: str) -> list[tuple[str, str]]:
    """Read the factors and values of a query, each factor once."""
    # what follows a & is another term if there is a = in it; if not, the & belongs to the value
    terms = [equation(option, part) for part in re.split(r"&(?=[^&]*=)", query)]
    names = [name for name, _ in terms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        values = ",".join(value.strip() for name, value in terms if name == twice)
        raise ConfigError(
            option,
            found=f"{twice} more than once in {query!r}",
            expected="each factor once, as all must hold together",
            remedy=f"For experiments that have any of the values ask for {twice}={values}; several {option} add up "
            "too.",
        )
    for name, value in terms:
        if name not in store.factors and name != names[0]:
            raise ConfigError(
                option,
                found=f"factor {name!r}, which the store does not have",
                expected=f"one of {some(store.factors.names, _SHOWN)} behind a &",
                remedy=f"{suggest(name, store.factors.names)} A value that holds both & and = cannot be asked for: "
                "name its experiments by accession.",
            )
        if "&" in value and name in store.factors:
            try:
                _hold(store.factors[name], value, option)
            except ConfigError:
                raise ConfigError(
                    option,
                    found=f"no experiment with {name} {value.strip()!r}",
                    expected="FACTOR=VALUE on either side of a &, or a value that holds it",
                    remedy="Write a factor and a = behind the &.",
                ) from None
    return terms


def equation(option: str, text: str) -> tuple[str, str]:
    """Read a factor and a value, as ``target=CTCF``.

    Raises
    ------
    ConfigError
        If they are none.
    """
    name, equals, value = text.partition("=")
    if not name.strip() or not equals or not value.strip():
        raise ConfigError(
            option,
            found=repr(text),
            expected="FACTOR=VALUE, such as target=CTCF",
            remedy="Correct the option.",
        )
    return name.strip(), value


def _find_factor(store: Store, name: str, option: str) -> Factor:
    if name not in store.factors:
        raise ConfigError(
            option,
            found=f"factor {name!r}, which the store does not have",
            expected=f"one of {some(store.factors.names, _SHOWN)}",
            remedy=suggest(name, store.factors.names),
        )
    return store.factors[name]


def _hold(factor: Factor, text: str, option: str) -> NDArray[np.bool_]:
    """Find the experiments that have a value: the text as a whole, or else one of its parts between commas."""
    whole = _equal(factor, text.strip())
    if whole.any():
        return whole
    held = np.zeros(len(whole), np.bool_)
    for part in text.split(","):
        found = _equal(factor, part.strip())
        if not found.any():
            known = _spell(factor)
            remedy = suggest(part.strip(), known)
            if any("," in value for value in known):
                remedy += (
                    f" Values that hold a comma are asked for one by one, each with a {option} of its own."
                )
            raise ConfigError(
                option,
                found=f"no experiment with {factor.name} {part.strip()!r}",
                expected=some(known, _SHOWN) if known else "a value that is known, but it is missing for all",
                remedy=remedy,
            )
        held |= found
    return held


def _equal(factor: Factor, text: str) -> NDArray[np.bool_]:
    """Find the experiments that have this value; a missing value equals nothing."""
    if not text:
        return np.zeros(len(factor.values), np.bool_)
    if factor.kind == "multi_category":
        return np.array([value is not None and text in value for value in factor.values], np.bool_)
    if factor.kind == "category":
        return np.array([value == text for value in factor.values], np.bool_)
    if factor.kind == "date":
        return _date_equals(factor, text)
    try:
        return np.asarray(factor.values == float(text)) & ~factor.missing
    except ValueError:
        return np.zeros(len(factor.values), np.bool_)


def _date_equals(factor: Factor, text: str) -> NDArray[np.bool_]:
    """Find the dates that a text means: a day, all of a month (``2012-05``), or all of a year (``2012``)."""
    if not _DATE.fullmatch(text):
        return np.zeros(len(factor.values), np.bool_)
    try:
        meant = np.datetime64(text)  # a day, a month or a year, as it is written
    except ValueError:
        return np.zeros(len(factor.values), np.bool_)
    return np.asarray(factor.values.astype(meant.dtype) == meant) & ~factor.missing


def _spell(factor: Factor) -> list[str]:
    """Spell the values that occur, in order."""
    if factor.kind in ("category", "multi_category"):
        return list(factor.categories())
    known = np.unique(factor.values[~factor.missing])
    return [f"{value:g}" if factor.kind == "number" else str(value) for value in known]


def resolve_chrom(option: str, name: str, genome: Genome) -> str:
    """Give the store's name of a chromosome.

    Raises
    ------
    ConfigError
        If there is none; `option` names where it was given.
    """
    chrom = genome.resolve(name)
    if chrom is None:
        raise ConfigError(
            option,
            found=f"chromosome {name!r}, which the store does not have",
            expected=f"one of {some(genome.sizes)}",
            remedy=suggest(name, list(genome.sizes)),
        )
    return chrom


def locate_regions(option: str, regions: Iterable[str], genome: Genome) -> list[tuple[str, int, int]]:
    """Read regions such as ``chr8:127,000,000-129,000,000``: chromosome, start and end in bp, 0-based half-open.

    Raises
    ------
    ConfigError
        If a text is no region, the store has no such chromosome, or one begins behind its end; `option` names where
        it was given.
    """
    located = []
    for text in regions:
        region = parse_region(text)
        if region is None:
            raise ConfigError(option, found=repr(text), expected=REGION_WORDS, remedy="Correct the region.")
        chrom = resolve_chrom(option, region.chrom, genome)
        start, end = region.bounds or (0, genome.sizes[chrom])
        if start >= genome.sizes[chrom]:
            raise ConfigError(
                option,
                found=repr(text),
                expected=f"a start before the end of {chrom}, {genome.sizes[chrom]:,} bp",
                remedy="Correct the region, or use a store of its assembly.",
            )
        located.append((chrom, start, min(end, genome.sizes[chrom])))
    return located


def suggest(text: str, known: Sequence[str]) -> str:
    """Give a remedy for a name that is not known: names that are close to it."""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(text.casefold(), folded, n=3, cutoff=0.7)
    return f"Did you mean {' or '.join(folded[name] for name in close)}?" if close else "Correct the name."
