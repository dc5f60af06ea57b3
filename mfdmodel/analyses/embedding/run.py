"""A run's experiments in the space of their weights: computed, kept in the run's folder, and read for the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from mfdmodel.analyses.embedding.experiments import DirectFeature, Embedding, SubspaceView, embed_experiments
from mfdmodel.analyses.embedding.neighbours import Clustering
from mfdmodel.analyses.embedding.projection import Method
from mfdmodel.checkpoint.models import load_model
from mfdmodel.checkpoint.states import read_json, write_json, write_text
from mfdmodel.devices import choose_device, computing_on
from mfdmodel.evaluate.run import open_store_of
from mfdmodel.evaluate.scores import FOLDER
from mfdmodel.features import experiment_weights, latent_features
from mfdmodel.splits import rows_to_score
from mfdstore.errors import ConfigError, RunError
from mfdstore.metadata import FactorTable
from mfdstore.places.address import AnyPlace
from mfdstore.schema import Split

EMBEDDING: Final = Path(FOLDER, "embedding.json")
TABLE: Final = Path(FOLDER, "embedding.tsv")
"""Within the folder of a run."""

COLOURED_BY: Final = ("target", "biosample", "assay", "lab")
"""Factors that colour the pictures unless others are named, where the store has them."""

_MOST_WINDOWS: Final = 10_000
"""Windows that the features' deviations are taken from; evenly taken where there are more."""


@dataclass(frozen=True)
class RunEmbedding:
    """Experiments of a run in the space of their weights.

    Parameters
    ----------
    split, n_windows
        Windows that the features' deviations are taken from.
    epoch
        Of the model, counted from 0.
    store_digest
        Of the store that was read.
    experiments
        In the order of the store.
    colours
        Of each experiment, by factor; `None` where missing.
    embedding
        Of the experiments.
    """

    split: str
    n_windows: int
    epoch: int
    store_digest: str
    experiments: tuple[str, ...]
    colours: Mapping[str, tuple[str | None, ...]]
    embedding: Embedding


def embed_run(
    run: Path,
    *,
    method: Method = "pca",
    colours: Sequence[str] | None = None,
    split: Split = "test",
    store: AnyPlace | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> RunEmbedding:
    """Place a run's experiments by their weights, and write that into the run's folder.

    Parameters
    ----------
    run
        Folder of a run of a model with metadata.
    method
        That makes the coordinates.
    colours
        Factors to colour the pictures by; `None` for those of `COLOURED_BY` that the store has.
    split
        Whose windows the features are computed of.
    store
        To read instead of the one that the run was trained on.
    seed
        Of permutations, and of UMAP.
    device, threads
        As in training.
    on_progress
        Told what is done, how much of it, and how much there is.

    Returns
    -------
    What was written to ``evaluation/embedding.json`` and, one experiment a row, ``evaluation/embedding.tsv``.

    Raises
    ------
    RunError
        If the run has no model, its model has no metadata, it is damaged or diverged, or the store is not what it was.
    ConfigError
        If a colour is no factor, or a number; or UMAP is asked for and not installed.
    StoreError
        If the store is not there, or has no window in the split.
    """
    trained = load_model(run)
    description = trained.description
    if not trained.model.codings:
        raise RunError(
            run,
            found=f"a model of kind {description.config.model.kind}, whose weights are made from no metadata",
            expected="a model of kind mfd, whose weights lie in a subspace a role",
            remedy="Train one: mfdmodel train --model mfd.",
        )
    coloured = _colours(description.factors, colours)
    opened = open_store_of(run, description, store, split=split)
    rows = rows_to_score(opened, split)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_WINDOWS).astype(np.int64))]
    chosen = choose_device(device)
    with computing_on(chosen, threads):
        features = latent_features(
            trained.model,
            store=opened,
            rows=rows,
            positions=description.config.data.positions,
            device=chosen,
            on_progress=on_progress,
        )
    weights = experiment_weights(trained.model)
    if not all(np.isfinite(values).all() for part in (features, weights) for values in part.values()):
        raise RunError(
            run,
            found="features or weights that are no numbers",
            expected="finite ones",
            remedy="The training diverged; train again with a lower training.lr or with training.gradient_clip.",
        )
    result = RunEmbedding(
        split,
        len(rows),
        trained.epoch,
        opened.digest,
        description.factors.experiments,
        coloured,
        embed_experiments(
            weights,
            features,
            factors=description.factors,
            direct=trained.model.direct_features,
            method=method,
            seed=seed,
            on_progress=on_progress,
        ),
    )
    write_text(run / TABLE, format_table(result))
    write_json(run / EMBEDDING, to_json(result))
    return result


def to_json(result: RunEmbedding) -> dict[str, Any]:
    """Write as what JSON can hold; NaN becomes `None`."""
    embedding = result.embedding
    return {
        "method": embedding.method,
        "split": result.split,
        "n_windows": result.n_windows,
        "epoch": result.epoch,
        "store_digest": result.store_digest,
        "scaled": "each weight by the standard deviation of its feature over the windows",
        "experiments": list(result.experiments),
        "colours": {name: list(values) for name, values in result.colours.items()},
        "subspaces": [
            asdict(view)
            | {
                "explained": None if view.explained is None else list(view.explained),
                "coordinates": view.coordinates.tolist(),
            }
            for view in embedding.subspaces
        ],
        "clusterings": [asdict(one) for one in embedding.clusterings],
        "direct_features": [
            {key: None if value != value else value for key, value in asdict(one).items()}
            for one in embedding.direct_features
        ],
    }


def format_table(result: RunEmbedding) -> str:
    """Write the coordinates as tab-separated text, an experiment a row; what is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    views = result.embedding.subspaces
    axes = [f"{view.role}_{axis + 1}" for view in views for axis in range(2)]
    writer.writerow(["experiment", *result.colours, *axes])
    for index, experiment in enumerate(result.experiments):
        values = [column[index] or "" for column in result.colours.values()]
        numbers = [f"{number:.6g}" for view in views for number in view.coordinates[index]]
        writer.writerow([experiment, *values, *numbers])
    return text.getvalue()


def read_embedding(run: Path) -> RunEmbedding | None:
    """Read an embedding that was written before; `None` where there is none.

    Raises
    ------
    RunError
        If it is damaged.
    """
    path = run / EMBEDDING
    if not path.exists():
        return None
    try:
        content = read_json(path)
        experiments = tuple(map(str, content["experiments"]))
        if content["method"] not in get_args(Method):
            raise ValueError(f"method {content['method']!r}")
        views = tuple(_view_from_json(item, len(experiments)) for item in content["subspaces"])
        colours = {str(name): tuple(values) for name, values in content["colours"].items()}
        if any(len(values) != len(experiments) for values in colours.values()):
            raise ValueError(f"colours for other than {len(experiments)} experiments")
        return RunEmbedding(
            str(content["split"]),
            int(content["n_windows"]),
            int(content["epoch"]),
            str(content["store_digest"]),
            experiments,
            colours,
            Embedding(
                content["method"],
                views,
                _clusterings_from_json(content["clusterings"], {view.role for view in views}),
                tuple(_direct_from_json(item) for item in content["direct_features"]),
            ),
        )
    except (RunError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            path,
            found=f"an embedding that cannot be read ({error.found if isinstance(error, RunError) else repr(error)})",
            expected="what mfdmodel embed wrote",
            remedy=f"The file was damaged or changed; write it again: mfdmodel embed {run}",
        ) from error


def _clusterings_from_json(items: Sequence[Mapping[str, Any]], roles: set[str]) -> tuple[Clustering, ...]:
    clusterings = tuple(
        Clustering(
            role=str(item["role"]),
            factor=str(item["factor"]),
            accuracy=float(item["accuracy"]),
            chance=float(item["chance"]),
            chance_low=float(item["chance_low"]),
            chance_high=float(item["chance_high"]),
            p_value=float(item["p_value"]),
            n_scored=int(item["n_scored"]),
            n_known=int(item["n_known"]),
        )
        for item in items
    )
    for factor in {one.factor for one in clusterings}:
        if sorted(one.role for one in clusterings if one.factor == factor) != sorted(roles):
            raise ValueError(f"{factor} is not measured once in each subspace")
    return clusterings


def _direct_from_json(item: Mapping[str, Any]) -> DirectFeature:
    deviation, share = (
        float("nan") if item[name] is None else float(item[name]) for name in ("deviation", "variance_share")
    )
    return DirectFeature(str(item["role"]), str(item["name"]), int(item["n_experiments"]), deviation, share)


def _view_from_json(item: Mapping[str, Any], n_experiments: int) -> SubspaceView:
    coordinates = np.array(item["coordinates"], np.float64)
    if coordinates.shape != (n_experiments, 2):
        raise ValueError(f"coordinates of shape {coordinates.shape} for {n_experiments} experiments")
    explained = item["explained"]
    return SubspaceView(
        str(item["role"]),
        int(item["n_features"]),
        float(item["variance_share"]),
        None if explained is None else (float(explained[0]), float(explained[1])),
        coordinates,
    )


def _colours(factors: FactorTable, names: Sequence[str] | None) -> dict[str, tuple[str | None, ...]]:
    """Read the values that colour the pictures, as text; of several values of an experiment, all."""
    chosen = [name for name in COLOURED_BY if name in factors] if names is None else dict.fromkeys(names)
    for name in chosen:
        if name not in factors or factors[name].kind == "number":
            coloured = [
                factor.name for factor in factors if factor.role is not None and factor.kind != "number"
            ]
            raise ConfigError(
                "--color",
                found=f"{name!r}, which is {'a number' if name in factors else 'no factor of the store'}",
                expected=f"a factor with groups, such as {', '.join(coloured)}",
                remedy="Name one of those.",
            )
    return {
        name: tuple(
            None if missing else _as_text(value, factors[name].kind)
            for value, missing in zip(factors[name].values, factors[name].missing, strict=True)
        )
        for name in chosen
    }


def _as_text(value: Any, kind: str) -> str:
    if kind == "date":
        return str(value)[:4]  # its year
    return ", ".join(value) if isinstance(value, tuple) else str(value)
