"""docs/queries.md, run from top to bottom; what it shows is what comes out."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.mfdstore_app import app

GUIDE = Path(__file__).parents[1] / "docs" / "queries.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(code: str, names: dict[str, Any]) -> Any:
    """Run a block as a notebook does: all of it, then give the value of its last line."""
    *steps, last = ast.parse(code).body
    shows = isinstance(last, ast.Expr)
    exec(compile(ast.Module(steps if shows else [*steps, last], []), GUIDE.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), GUIDE.name, "eval"), names) if shows else None


def test_guide__runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown: Any = None
    n_shown = 0
    for kind, content in _BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if kind == "sh":
            for line in content.replace("\\\n", " ").splitlines():
                result = CliRunner().invoke(app, shlex.split(line)[1:])
                assert result.exit_code == 0, result.output
        elif kind == "python":
            shown = _run(content, names)
        else:
            assert kind == "text"
            assert [line.rstrip() for line in repr(shown).splitlines()] == content.splitlines()
            n_shown += 1
    assert n_shown == 9
