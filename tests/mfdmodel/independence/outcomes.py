"""An outcome as a run may have it, without the minutes that it takes."""

from __future__ import annotations

from mfdmodel.analyses.independence.associations import Association, Link
from mfdmodel.analyses.independence.logits import ExperimentShares, Shares
from mfdmodel.analyses.independence.measures import FeatureScore, Measure, Measures, Reduced
from mfdmodel.analyses.independence.result import Independence
from mfdmodel.intervals import Interval

NONE = Interval(0.0, -0.01, 0.01)
NAN = Interval(float("nan"), float("nan"), float("nan"))


def outcome(*, epoch: int = 0, value: str = "CTCF", nonlinear: float = 0.3) -> Independence:
    """Nothing linear; the perceptron predicts technical features by `nonlinear`; the last measure has no number."""
    measures = (
        Measure(
            "discriminator", "a perceptron tells", 0.5, Interval(0.5, 0.48, 0.52), Interval(0.5, 0.48, 0.52)
        ),
        Measure(
            "r2_technical_perceptron",
            "a perceptron predicts",
            0.0,
            Interval(nonlinear, nonlinear - 0.02, nonlinear + 0.02),
            NONE,
        ),
        Measure("r2_technical_line", "a straight line predicts", 0.0, NONE, NONE),
        Measure("canonical_first", "canonical correlation, first pair", 0.0, NAN, NAN),
    )
    shares = Shares(Interval(0.7, 0.6, 0.8), Interval(0.2, 0.1, 0.3), Interval(0.1, 0.05, 0.15))
    return Independence(
        split="test",
        n_windows=1234,
        n_fit=500,
        n_tune=150,
        n_scored=480,
        n_dropped=104,
        n_blocks=80,
        n_scored_blocks=32,
        n_rotations=5,
        seed=0,
        epoch=epoch,
        store_digest="f" * 64,
        found=Measures(
            subspaces=(Reduced("biological", 12, 1, 11, 1.0), Reduced("technical", 12, 0, 12, 1.0)),
            measures=measures,
            canonical=measures[3:],
            principal=(),
            features=(FeatureScore("biological", 0, f"target={value}", 0.1, None),),
        ),
        logits=shares,
        mean_logit=Shares(NAN, NAN, NAN),
        experiments=(
            ExperimentShares("ENCFF000XYZ", 0.7, 0.2, 0.1),
            ExperimentShares("ENCFF001XYZ", None, None, None),
        ),
        associations=(
            Association(
                "target",
                "biological",
                value,
                2,
                {"biological": Link(0, f"target={value}", 1.0)},
                {"technical": Link(3, None, -0.25, -0.3, -0.2)},
            ),
        ),
    )
