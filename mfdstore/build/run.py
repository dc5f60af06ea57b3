"""A build from its sources to its name: one stage after another."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mfdstore import layout, schema
from mfdstore.build import labels
from mfdstore.build.bins import bin_tasks
from mfdstore.build.crew import Crew
from mfdstore.build.gathering import gather_crew
from mfdstore.build.once import Task, do_once
from mfdstore.build.peaks import (
    PeakFile,
    Runs,
    check_some_here,
    files_at_once,
    peak_tasks,
    pieces,
    put_together,
)
from mfdstore.build.plan import Plan, make_plan
from mfdstore.build.sequence import sequence_tasks
from mfdstore.build.settings import BuildCounts, BuildReport, BuildSettings, Resources, Sources
from mfdstore.errors import ConfigError, RemoteError, SourceError
from mfdstore.places.address import Address, AnyPlace, find_place
from mfdstore.places.files import LocalFiles, RemoteFiles
from mfdstore.provenance import describe_file, versions
from mfdstore.publish import check_free, resumed, resumed_for
from mfdstore.sources.fasta import open_fasta
from mfdstore.transfer.listing import Listing
from mfdstore.transfer.upload import check_free_for, open_target, upload

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""

STAGES = ("sources", "peak files", "sequence", "bins", "labels by window", "labels by experiment", "digests")
UPLOAD = "upload"
"""The last stage of a build to an address."""


def build_store(
    sources: Sources,
    out: AnyPlace,
    settings: BuildSettings,
    on_progress: Progress = lambda stage, done, total: None,
    resources: Resources | None = None,
) -> BuildReport:
    """Build a store from files and publish it under `out`.

    A build that was killed is continued by the same call; what changed of its sources in between is done again. One
    that is to lie at an address is built on disk first, in `resources.scratch`, and kept there until all of it is sent.

    Parameters
    ----------
    sources, settings
        What decides the store's bytes.
    out
        Name to publish it under, or address on S3.
    on_progress
        Told of each stage.
    resources
        What the build may take of the machine.

    Raises
    ------
    SourceError
        If a source is not what it should be; see the readers.
    ConfigError
        If the settings leave nothing to build or a split without windows.
    CrewError
        If no scheduler answers, or its workers are gone; what was done stays for the next call.
    StoreError
        If `out` exists, is being built by another process, or cannot be written.
    RemoteError
        If the server of an address fails; then what was built stays for the next call.
    """
    resources = resources or Resources()
    clock = _Clock(on_progress)
    place = find_place(out)
    if isinstance(place, Path):
        with resumed(place) as folder:
            digest, counts = _build_in(folder, sources, settings, resources, clock)
        return BuildReport(place, digest, counts, clock.seconds)
    target = _free_target(place, resources)
    with resumed_for(place, _working_folder(place, resources)) as folder:
        digest, counts = _build_in(folder, sources, settings, resources, clock)
        with clock.stage(UPLOAD):
            try:
                upload(Listing(LocalFiles(folder / "store")), target, clock.tell)
            except RemoteError:
                log.warning("what was built stays in %s, and is gone on with by the same command", folder)
                raise
    return BuildReport(place, digest, counts, clock.seconds)


def check_out(out: AnyPlace, resources: Resources) -> None:
    """Refuse a name that a build could not publish under in the end; for an address its server is asked.

    Raises
    ------
    StoreError
        If something is there, or it cannot be written.
    RemoteError
        If the server of an address fails, or the environment holds no credentials for it.
    """
    place = find_place(out)
    if isinstance(place, Path):
        check_free(place)
    else:
        _free_target(place, resources)


def _free_target(place: Address, resources: Resources) -> RemoteFiles:
    """Open an address to write to, if nothing is there but what an earlier call of this build may have sent."""
    target = open_target(place)
    check_free_for(target, begun=_working_folder(place, resources).exists())
    return target


def _working_folder(place: Address, resources: Resources) -> Path:
    """Name the folder that a store is built in before it is sent: one an address."""
    which = hashlib.sha256(str(place).encode()).hexdigest()[:12]
    return resources.scratch_folder / f".{place.name[:100]}-{which}.building"


def _build_in(
    folder: Path, sources: Sources, settings: BuildSettings, resources: Resources, clock: _Clock
) -> tuple[str, BuildCounts]:
    """Build a store in a folder, as its ``store``; gives its digest and counts."""
    with clock.stage("sources"), ExitStack() as opened:
        with ThreadPoolExecutor(1) as beside:
            described = beside.submit(describe_file, sources.fasta)  # while it is unpacked
            fasta = opened.enter_context(open_fasta(sources.fasta, folder / "scratch" / "fasta"))
        plan = make_plan(sources, settings, fasta, described.result())
        with gather_crew(resources.scheduler, resources.n_jobs) as crew:
            return _build(plan, folder, crew, resources, clock)


class _Clock:
    """Tells progress by stage and notes how long each took; what runs within another stage is not counted twice."""

    def __init__(self, on_progress: Progress) -> None:
        self._on_progress = on_progress
        self._stack: list[tuple[str, float]] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done until the block ends to a stage."""
        self._switch()
        self._stack.append((name, time.perf_counter()))
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def tell(self, done: int, total: int) -> None:
        """Tell how much of the stage is done."""
        self._on_progress(self._stack[-1][0], done, total)

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            name, since = self._stack[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - since
            self._stack = [(stage, now) for stage, _ in self._stack]


def _build(
    plan: Plan, folder: Path, crew: Crew, resources: Resources, clock: _Clock
) -> tuple[str, BuildCounts]:
    resources.check_bins(plan.tiling.n_bins)
    root = layout.create_root(folder / "store")
    do = partial(do_once, folder)

    def run(stage: str, tasks: Sequence[Task], at_once: int | None = None) -> list[Any]:
        with clock.stage(stage):
            clock.tell(0, len(tasks))
            return crew.run(do, tasks, at_once=at_once, on_done=lambda done: clock.tell(done, len(tasks)))

    tiling = plan.tiling
    # peaks first: what may be wrong with sources is mostly found there
    share = resources.share(crew.n_here, crew.n_programs)
    at_once = files_at_once(plan.files.values(), share, crew.n_jobs)
    files = put_together(pieces(plan.files), run("peak files", peak_tasks(plan), at_once))
    if not plan.settings.allow_empty:
        check_some_here(plan.sources.peaks, files, tiling.chroms)
    for chrom, size in zip(tiling.chroms, tiling.sizes, strict=True):
        layout.create_codes(root, chrom, size)
    run("sequence", sequence_tasks(plan))
    bins = bin_tasks(plan, files, folder)
    found = run("bins", bins)
    counts = _count(plan, files, found)
    _check_counts(plan, counts)
    plan.splitter.check_counts(counts.windows_by_split, tiling.chroms)

    chromosomes = tuple(task.arguments[1] for task in bins)
    kept = labels.Kept(
        folder, chromosomes, tuple(value["counts"]["windows"] for value in found), tiling.bin_size
    )
    kept.write_rank(tiling.n_bins)
    runs, n_windows, n_experiments = Runs.of(folder, files), kept.n_windows, len(plan.factors)
    key = labels.labels_key([task.key for task in bins], folder / labels.RANK_FILE)
    layout.create_label_bits(root, n_windows, n_experiments)
    layout.create_label_bits_by_experiment(root, n_windows, n_experiments)
    width = plan.n_label_bytes
    run("labels by window", labels.row_tasks(runs, n_windows, width, key, share))
    run("labels by experiment", labels.line_tasks(runs, n_windows, key))

    layout.remove_others(folder / "store", tiling.chroms, plan.factors)
    digests = kept.write_coordinates(root) | layout.write_factors(root, plan.factors)
    with clock.stage("digests"):
        large = [schema.LABEL_BITS, schema.LABEL_BITS_BY_EXPERIMENT]
        large += [f"{schema.SEQUENCE}/{chrom}" for chrom in tiling.chroms]
        clock.tell(0, len(large))
        values = crew.run(
            partial(labels.digest_array, folder), large, on_done=lambda done: clock.tell(done, len(large))
        )
        digests |= dict(zip(large, values, strict=True))
        digest = layout.finish(
            folder / "store",
            factors=plan.factors,
            chroms=tiling.chroms,
            chrom_sizes=tiling.sizes,
            n_windows=n_windows,
            digests=digests,
            attributes=_attributes(plan, files, counts),
        )
    return digest, counts


def _count(plan: Plan, files: Mapping[str, PeakFile], bins: Sequence[Any]) -> BuildCounts:
    counts = BuildCounts(experiments=len(files), metadata=dict(plan.table.counts))
    counts.metadata["rows_without_peak_file"] = len(plan.table.factors) - len(files)
    counts.peaks = sum(file.n_intervals for file in files.values())
    counts.peaks_on_other_sequences = counts.peaks - sum(file.n_here for file in files.values())
    for value in bins:
        for name, number in value["counts"].items():
            setattr(counts, name, getattr(counts, name) + number)
        for split, number in value["by_split"].items():
            counts.windows_by_split[split] = counts.windows_by_split.get(split, 0) + number
    return counts


def _check_counts(plan: Plan, counts: BuildCounts) -> None:
    sources, settings = plan.sources, plan.settings
    if counts.bins == 0:
        raise ConfigError(
            "--bin-size",
            found=f"{settings.bin_size:,} bp, longer than any of the chromosomes",
            expected="bins that fit into a chromosome",
            remedy="Choose narrower bins, or build other chromosomes.",
        )
    if counts.windows == 0:
        raise SourceError(
            sources.peaks,
            found=f"no bin left of {counts.bins:,} bins of {settings.bin_size:,} bp: "
            f"{counts.bins_below_min_experiments:,} are labelled by fewer than {settings.min_experiments} experiments, "
            f"{counts.bins_with_blank:,} hold an unknown base, {counts.bins_blacklisted:,} are blacklisted",
            expected="at least one window",
            remedy="Lower --min-experiments or --bin-size, or check that peaks and FASTA are of one assembly.",
        )


def _attributes(plan: Plan, files: Mapping[str, PeakFile], counts: BuildCounts) -> dict[str, Any]:
    settings, blacklist = plan.settings, plan.blacklist
    return {
        "genome": settings.genome,
        "bin_size": settings.bin_size,
        "min_overlap": settings.min_overlap,
        "min_experiments": settings.min_experiments,
        "provenance": {
            "settings": asdict(settings),
            "fasta": asdict(plan.fasta_file),
            "tables": [asdict(file) for file in plan.table.files],
            "blacklist": asdict(blacklist.file) if blacklist else None,
            "peaks": {
                name: {key: value for key, value in asdict(file).items() if key not in ("n_here", "n_runs")}
                for name, file in files.items()
            },
            "empty_columns": list(plan.table.empty_columns),
            "counts": asdict(counts),
            "versions": versions(),
        },
    }
