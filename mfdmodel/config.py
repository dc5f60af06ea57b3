"""A run's configuration: every option of the method, read from YAML and checked before anything is computed.

`RunConfig` is frozen and forbids what it does not know. A file states the options that differ from the
defaults here; the grouping of the factors has no default and is always stated. Three files ship with the
package: ``paper``, ``small`` and ``demo``.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mfdstore.errors import ConfigError
from mfdstore.schema import DEFAULT_POSITIONS, ROLES, Role

PRESETS: Final = ("paper", "small", "demo")

FactorMap = Literal["none", "linear", "rescale", "rescale_columns", "embed"]
DateCoding = Literal["year_category", "year_number"]
ModelKind = Literal["mfd", "linear_head", "dinucleotides"]
Schedule = Literal["constant", "one_cycle", "cosine"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """Part of a configuration: frozen, finite numbers only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Section):
    """How windows are cut from the store.

    ``positions`` is the number of dinucleotides a window has; in training windows are moved by up to
    ``max_shift`` bp either way and read from a random strand if ``reverse_complement`` (method, section 1).
    """

    positions: Count = DEFAULT_POSITIONS
    max_shift: Annotated[int, Field(ge=0)] = 3
    reverse_complement: bool = True


class TrunkConfig(_Section):
    """Shape of the trunk (method, section 2).

    ``channels`` is C: the stem has C // 2, the end of the tower C, the latent 2C unless ``latent`` says
    otherwise. ``crop`` positions are cut from either side behind the dilated blocks; ``auto`` cuts until one
    is left, or two of an even number. What is left is pooled. ``channel_multiple`` rounds the channels between
    the tower's ends down to a multiple, which processors and GPUs like; 1 is the published network.
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
    """The metadata embedding: which factors, how each is mapped, and how the latent is shared."""

    subspaces: dict[Role, SubspaceConfig]
    biological_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
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
    """The independence penalty: its strength, and the predictors that play against the model (equation 3)."""

    lambda_indep: Annotated[float, Field(ge=0)] = 0.001
    width: Count = 1024
    layers: Count = 3
    lr: Annotated[float, Field(gt=0)] = 1e-3
    amsgrad: bool = True
    steps: Count = 1


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
    gradient's 2-norm, `None` leaves it. ``threads`` are those of the loader.
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


class RunConfig(_Section):
    """Everything that decides a run, beside the store."""

    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()


def load_config(source: str | Path) -> RunConfig:
    """Read a configuration file, or one that ships with the package.

    Parameters
    ----------
    source
        A preset's name (``paper``, ``small``, ``demo``) or the path of a YAML file.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML mapping, or an option is unknown or cannot have its value.
    """
    name = str(source)
    if name in PRESETS:
        text = resources.files("mfdmodel").joinpath("presets", f"{name}.yaml").read_text("utf-8")
        return parse_config(text, where=f"preset {name}")
    try:
        text = Path(source).read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            name,
            found=f"no readable file ({error.strerror})",
            expected=f"a YAML file or one of the presets {', '.join(PRESETS)}",
            remedy=f"Check the path{_suggest(name, PRESETS)}",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            name, found="bytes that are no UTF-8 text", expected="a YAML file", remedy="Check the path."
        ) from error
    return parse_config(text, where=name)


def parse_config(text: str, *, where: str) -> RunConfig:
    """Read a configuration from YAML text; `where` names it in errors.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated_keys(node, where)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            where,
            found=str(getattr(error, "problem", None) or "text that cannot be parsed"),
            expected="YAML",
            remedy="Mend the syntax there.",
            line=None if mark is None else mark.line + 1,
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            where,
            found="an empty file" if content is None else f"a {type(content).__name__}",
            expected=f"a mapping with the keys {', '.join(RunConfig.model_fields)}",
            remedy="Start from a preset's file.",
        )
    return validate_config(content, where=where)


def validate_config(content: Mapping[str, Any], *, where: str) -> RunConfig:
    """Check a configuration that is already a mapping (parsed YAML or JSON).

    Raises
    ------
    ConfigError
        Naming the key's path, what stands there and what could.
    """
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise _explain(error, where) from error


def override(config: RunConfig, options: Mapping[str, object], *, where: str = "options") -> RunConfig:
    """Replace single options, named by their path, and check the whole again.

    >>> small = load_config("small")
    >>> override(small, {"model.penalty.lambda_indep": 0.1}).model.penalty.lambda_indep
    0.1

    Raises
    ------
    ConfigError
        If a path leads nowhere or a value cannot be had.
    """
    content = config.model_dump()
    for path, value in options.items():
        *parents, last = path.split(".")
        section = content
        for parent in parents:
            below = section.get(parent)
            if not isinstance(below, dict):
                raise ConfigError(
                    where,
                    found=f"the option {path}",
                    expected=f"one of {', '.join(section)} in place of {parent}",
                    remedy=f"Check the option's path{_suggest(parent, section)}",
                )
            section = below
        section[last] = value
    return validate_config(content, where=where)


def _refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """YAML readers keep the last of two equal keys silently; a run should not depend on which one that is."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, where)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[Hashable] = set()
    for key, value in node.value:
        if not isinstance(key.value, Hashable):
            continue
        if key.value in seen:
            raise ConfigError(
                where,
                found=f"the key {key.value} a second time",
                expected="each key once",
                remedy="Keep one of the two.",
                line=key.start_mark.line + 1,
            )
        seen.add(key.value)
        _refuse_repeated_keys(value, where)


def _explain(error: ValidationError, where: str) -> ConfigError:
    """Say the first fault in the house's form, and count the rest."""
    faults = error.errors(include_url=False)
    fault, path = faults[0], _path(faults[0])
    others = dict.fromkeys(_path(other) for other in faults if _path(other) != path)
    more = f" Also at fault: {', '.join(others)}." if others else ""
    if fault["type"] == "extra_forbidden":
        allowed = _keys_at(fault["loc"][:-1])
        return ConfigError(
            where,
            found=f"the unknown key {path}",
            expected=f"only {', '.join(allowed)} there",
            remedy=f"Check the spelling{_suggest(str(fault['loc'][-1]), allowed)}{more}",
        )
    if fault["type"] == "missing":
        return ConfigError(
            where, found=f"no {path}", expected="it to be stated", remedy=f"State {path}.{more}"
        )
    if fault["type"] == "value_error":
        message = str(fault["msg"]).removeprefix("Value error, ")
        return ConfigError(
            where,
            found=f"{path}: {message}",
            expected="options that fit together",
            remedy=f"Change {path}.{more}",
        )
    # a choice between kinds of values gives one message each
    messages = [str(other["msg"]) for other in faults if _path(other) == path]
    expected = " or ".join(dict.fromkeys(text.removeprefix("Input should be ") for text in messages))
    found = f"{path} = {fault['input']!r}" if _is_plain(fault["input"]) else f"{path} with other content"
    return ConfigError(where, found=found, expected=expected, remedy=f"Change {path}.{more}")


def _path(fault: ErrorDetails) -> str:
    """Join the keys that lead to a fault, without what pydantic adds to tell kinds of values apart."""
    keys = (str(part) for part in fault["loc"])
    return ".".join(key for key in keys if "[" not in key and "-" not in key) or "the whole file"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _keys_at(location: Iterable[str | int]) -> tuple[str, ...]:
    """List the keys that the section at this path knows."""
    annotation: Any = RunConfig
    for part in location:
        fields = getattr(annotation, "model_fields", None)
        # a mapping's keys are free, its values are sections
        annotation = fields[part].annotation if fields is not None else get_args(annotation)[-1]
        sections = [kind for kind in get_args(annotation) if hasattr(kind, "model_fields")]
        if sections and get_origin(annotation) is not dict:
            annotation = sections[0]
    return tuple(annotation.model_fields)


def _suggest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "."
