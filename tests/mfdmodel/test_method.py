"""docs/method.md names functions and tests that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "method.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:mfdmodel|mfdstore)\.[\w.]+)", TEXT))))
def test_functions_named__exist(path: str) -> None:
    parts = path.split(".")
    names: list[str] = []
    while parts:
        try:
            found = importlib.import_module(".".join(parts))
            break
        except ModuleNotFoundError:
            names.insert(0, parts.pop())
    for name in names:
        found = getattr(found, name)


def test_tests_named__exist() -> None:
    file = None
    named = []
    for path, bare in re.findall(r"`(mfdmodel/(?:\w+/)?test_\w+\.py(?:::test_\w+)?)`|`(test_\w+)`", TEXT):
        file = path.partition("::")[0] or file
        named.append((file, path.partition("::")[2] or bare))
    assert len(named) > 20
    for name, test in named:
        source = (ROOT / "tests" / str(name)).read_text("utf-8")
        assert not test or f"def {test}(" in source, f"{name} has no {test}"
