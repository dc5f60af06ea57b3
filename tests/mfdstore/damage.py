"""How tests damage files."""

from __future__ import annotations

from pathlib import Path


def all_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def flip(file: Path, at: int, by: int = 0x01) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= by
    file.write_bytes(content)
