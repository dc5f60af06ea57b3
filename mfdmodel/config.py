"""A run's configuration: every option of the method, read from YAML and checked before anything is computed.

`RunConfig` is frozen and forbids what it does not know. A file states the options that differ from the
defaults here; the grouping of the factors has no default and is always stated. Three files ship with the
package: ``paper``, ``small`` and ``demo``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mfdstore.schema import DEFAULT_POSITIONS, ROLES, Role

FactorMap = Literal["none", "linear", "rescale", "rescale_columns", "embed"]
DateCoding = Literal["year_category", "year_number"]
ModelKind = Literal["mfd", "linear_head", "dinucleotides"]
Schedule = Literal["constant", "one_cycle", "cosine"]
PenaltyTerm = Literal["adversarial", "discriminator", "frobenius", "l1", "projections"]
Precision = Literal["float32", "bfloat16"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

POOLING: Final = 2
"""Positions that a max pool of the trunk makes one of, behind the stem and behind each stage of the tower."""


def derived_crop(n_positions: int) -> int:
    """Compute how many positions to cut from either side so that one is left, or two of an even number.

    >>> derived_crop(9), derived_crop(17), derived_crop(8)
    (4, 8, 3)
    """
    return max(0, (n_positions - 1) // 2)


class _Section(BaseModel):
    """Part of a configuration: frozen, finite numbers only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Section):
    """How windows are cut from the store.

    ``positions`` is the number of dinucleotides a window has; in training windows are moved by up to
    ``max_shift`` bp either way and read from a random strand if ``reverse_complement`` (method, section 1).
    """

    positions: Annotated[int, Field(ge=1, le=2**24)] = DEFAULT_POSITIONS
    max_shift: Annotated[int, Field(ge=0, le=2**20)] = 3
    reverse_complement: bool = True


class TrunkConfig(_Section):
    """Shape of the trunk (method, section 2).

    ``channels`` is C: the stem has C // 2, the end of the tower C, the latent 2C unless ``latent`` says
    otherwise. ``crop`` positions are cut from either side behind the dilated blocks; ``auto`` cuts until one
    is left, or two of an even number. What is left is pooled. ``channel_multiple`` rounds the channels between
    the tower's ends down to a multiple, which processors and GPUs like; 1 is the published network. ``norm_gain`` is
    where the scale of the latent's batch norm starts: direct weights are 0 or 1 for good, so that at the published 1
    the logits of a small network start far from the frequencies that the biases give.
    """

    channels: Annotated[int, Field(ge=2)] = 768
    stem_kernel: Count = 15
    tower_stages: Count = 6
    tower_kernel: Count = 5
    channel_multiple: Count = 1
    dilated_blocks: Annotated[int, Field(ge=0)] = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    crop: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    pooling: Literal["average", "max"] = "average"
    latent: Annotated[int, Field(ge=2)] | None = None
    norm_gain: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _odd_kernels(self) -> Self:
        for name in ("stem_kernel", "tower_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, so that a position stays at its kernel's centre")
        return self

    @property
    def n_latent(self) -> int:
        """Width of the latent, both subspaces together."""
        return 2 * self.channels if self.latent is None else self.latent

    def kept_positions(self, n_positions: int) -> range:
        """Compute which positions behind the poolings are kept by the crop.

        Parameters
        ----------
        n_positions
            Of a window.

        Raises
        ------
        ValueError
            If the window is too short for the poolings and the crop to leave a position.
        """
        n_poolings = 1 + self.tower_stages
        n_left = n_positions // POOLING**n_poolings
        crop = derived_crop(n_left) if self.crop == "auto" else self.crop
        if n_left - 2 * crop < 1:
            raise ValueError(
                f"windows of {n_positions} positions leave {n_left} behind {n_poolings} poolings, "
                f"too few for a crop of {crop} a side"
            )
        return range(crop, n_left - crop)


class FactorConfig(_Section):
    """How one factor enters a subspace.

    ``map`` is its intermediate map, ``width`` that of the maps ``linear`` and ``embed``; ``date`` says how a
    date is coded. An ``optional`` factor may be missing from a store, any other may not.
    """

    map: FactorMap = "none"
    width: Count | None = None
    date: DateCoding = "year_category"
    optional: bool = False

    @model_validator(mode="after")
    def _width_where_it_means_something(self) -> Self:
        if (self.map in ("linear", "embed")) != (self.width is not None):
            needs = "needs a" if self.width is None else "has no"
            raise ValueError(f"map {self.map} {needs} width; linear and embed have one")
        return self


class SubspaceConfig(_Section):
    """Factors that make the weights of one subspace: one feature a column, or through a network together."""

    direct: tuple[str, ...] = ()
    interact: Annotated[tuple[str, ...], Field(min_length=1)]
    out_dim: Count = 128

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        for key in ("direct", "interact"):
            names = getattr(self, key)
            if len(set(names)) != len(names):
                raise ValueError(f"{key} names a factor twice")
        return self


class HeadConfig(_Section):
    """The metadata embedding: which factors, how each is mapped, and how the latent is shared.

    The biological subspace has ``biological_width`` features, or where that is not said the ``biological_share`` of
    all; the technical one has the rest. With ``signal_to_noise`` each experiment has a learned factor on what its
    features add up to: experiments with the same metadata then may differ in more than their bias.
    """

    subspaces: dict[Role, SubspaceConfig]
    biological_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    biological_width: Count | None = None
    signal_to_noise: bool = False
    factors: dict[str, FactorConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [role for role in ROLES if role not in self.subspaces]
        if missing:
            raise ValueError(f"subspaces lacks {' and '.join(missing)}")
        used = self.factor_names
        unused = [name for name in self.factors if name not in used]
        if unused:
            raise ValueError(
                f"factors describes {', '.join(unused)}, which no subspace lists "
                f"(listed are {', '.join(used)})"
            )
        return self

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of all factors that a subspace lists, each once."""
        subspaces = (self.subspaces[role] for role in ROLES)
        return tuple(dict.fromkeys(name for part in subspaces for name in (*part.direct, *part.interact)))

    def factor(self, name: str) -> FactorConfig:
        """Look up how a factor enters; the defaults where nothing is said of it."""
        return self.factors.get(name, FactorConfig())


class PenaltyConfig(_Section):
    """The independence penalty: its price, what it is made of, and the adversaries that play against the model.

    ``lambda_indep`` multiplies the sum of the ``terms``, each by its weight: ``adversarial`` (equation 3),
    ``discriminator`` of re-paired rows, and the cross-covariance of the subspaces by its ``frobenius`` norm, its ``l1``
    norm or by random ``projections`` of it. Adversaries have ``layers`` of ``width`` and make ``steps`` a batch.
    """

    lambda_indep: Annotated[float, Field(ge=0)] = 0.001
    terms: Annotated[dict[PenaltyTerm, Annotated[float, Field(gt=0)]], Field(min_length=1)] = {
        "adversarial": 1.0
    }
    width: Count = 1024
    layers: Count = 3
    lr: Annotated[float, Field(gt=0)] = 1e-3
    amsgrad: bool = True
    steps: Count = 1
    projections: Count = 64

    @property
    def is_correlation(self) -> bool:
        """Whether it is minus L_indep of equation 3: the sum of squared correlations, and nothing else."""
        return self.terms == {"adversarial": 1.0}

    @property
    def title(self) -> str:
        """What the number is that lambda multiplies, by the terms in use."""
        if self.is_correlation:
            return "squared correlations"
        known = (
            (name, self.terms.get(name)) for name in get_args(PenaltyTerm)
        )  # whatever order they are given in
        parts = (name if weight == 1 else f"{weight:g} {name}" for name, weight in known if weight)
        return f"dependence penalty ({' + '.join(parts)})"


class ModelConfig(_Section):
    """What is trained: MFD, the same trunk under a free linear head, or dinucleotide frequencies under it."""

    kind: ModelKind = "mfd"
    trunk: TrunkConfig = TrunkConfig()
    head: HeadConfig | None = None
    penalty: PenaltyConfig = PenaltyConfig()

    @model_validator(mode="after")
    def _mfd_has_a_head(self) -> Self:
        if self.kind == "mfd" and self.head is None:
            raise ValueError("kind mfd needs a head: the grouping of the factors has no default")
        return self


class TrainingConfig(_Section):
    """How the model is fitted.

    ``lr`` is the peak of the ``schedule``; ``warmup`` the share of all steps in which it rises. ``patience``
    counts epochs without a better validation loss, `None` runs all ``epochs``. ``gradient_clip`` bounds the
    gradient's 2-norm, `None` leaves it. ``weight_decay`` is asked of networks; the 16 frequencies of the
    dinucleotide baseline are too few to be learned by heart, and biases are the experiments' own. ``threads`` are those
    of the loader.

    ``precision`` is that of the trunk's activations; weights, losses and the penalty stay float32. ``compile`` lets
    torch compile the trunk. ``rare_weight`` r weighs an experiment in the loss by its frequency to the power -r: 0 all
    alike, 1 each positive alike. Experiments ``held_out``, by accession, are left out of the losses: they are to be
    predicted from their metadata alone (method, section 8).
    """

    batch_size: Annotated[int, Field(ge=2)] = 256
    epochs: Count = 20
    lr: Annotated[float, Field(gt=0)] = 1e-3
    amsgrad: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Schedule = "constant"
    warmup: Fraction = 0.0
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    patience: Count | None = 5
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    threads: Count = 2
    precision: Precision = "float32"
    compile: bool = False
    rare_weight: Fraction = 0.0
    held_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _each_held_out_once(self) -> Self:
        if len(set(self.held_out)) != len(self.held_out):
            raise ValueError("held_out names an experiment twice")
        return self


class RunConfig(_Section):
    """Everything that decides a run, beside the store."""

    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _held_out_has_metadata(self) -> Self:
        if self.training.held_out and self.model.kind != "mfd":
            raise ValueError(
                f"training.held_out with model.kind {self.model.kind}: without metadata nothing predicts them"
            )
        return self

    @model_validator(mode="after")
    def _windows_reach_the_latent(self) -> Self:
        if self.model.kind != "dinucleotides":  # which has no trunk
            try:
                self.model.trunk.kept_positions(self.data.positions)
            except ValueError as error:
                raise ValueError(
                    f"data.positions = {self.data.positions} does not fit model.trunk: {error}; "
                    "more positions, fewer tower_stages or a smaller crop would"
                ) from error
        return self
