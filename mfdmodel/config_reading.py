"""From a YAML file, a mapping or options to a checked `RunConfig`; faults are told by key and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mfdmodel.config import RunConfig
from mfdstore.errors import ConfigError

PRESETS: Final = ("paper", "small", "demo")


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
            # the parser's own words may begin with "found", as this sentence does
            found=(getattr(error, "problem", None) or "text that cannot be parsed")
            .removeprefix("but ")
            .removeprefix("found "),
            expected="YAML",
            remedy="Mend the syntax there.",
            line=None if mark is None else mark.line + 1,
        ) from error
    except RecursionError as error:
        raise ConfigError(
            where,
            found="a value that holds itself, or is nested too deep to be read",
            expected="a mapping of sections and options",
            remedy="Write the options without aliases; start from a preset's file.",
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            where,
            found="an empty file" if content is None else f"no mapping but {content!r:.60}",
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
