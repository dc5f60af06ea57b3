"""What was fetched, pinned by accession and md5, and what has become another since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mfdstore.errors import SourceError

NAME: Final = "manifest.json"
_FORMAT: Final = "mfdstore.fetch"
_VERSION: Final = 1


@dataclass(frozen=True)
class PinnedFile:
    """One fetched file.

    Parameters
    ----------
    accession
        Of the file.
    experiment
        Accession of its experiment.
    name
        Under ``peaks/``.
    md5
        Of its bytes; empty if none is known yet.
    size
        In bytes; `None` if none is known yet.
    status
        As the portal said: released, archived, revoked; empty if it did not.
    address
        Where it is from.
    """

    accession: str
    experiment: str
    name: str
    md5: str
    size: int | None
    status: str
    address: str


@dataclass(frozen=True)
class Manifest:
    """All that is in a fetched folder.

    Parameters
    ----------
    genome
        Name of the assembly.
    source
        What was asked for: the kind, and the portal's queries where there were any.
    tables
        md5 by name.
    files
        In the order of the metadata.
    """

    genome: str
    source: Mapping[str, Any]
    tables: Mapping[str, str]
    files: Sequence[PinnedFile]

    def write(self, folder: Path) -> None:
        """Write it, all at once."""
        content = {"format": _FORMAT, "version": _VERSION, "genome": self.genome, "source": dict(self.source)}
        content |= {"tables": dict(self.tables), "files": [asdict(file) for file in self.files]}
        part = folder / f".{NAME}.part"
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read that of a folder; `None` if there is none.

        Raises
        ------
        SourceError
            If it is damaged, or of a later version.
        """
        path = folder / NAME
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
            if content["format"] != _FORMAT or content["version"] != _VERSION:
                raise ValueError(f"format {content['format']!r}, version {content['version']!r}")
            files = tuple(PinnedFile(**file) for file in content["files"])
            for file in files:
                size = file.size
                texts = (file.accession, file.experiment, file.name, file.md5, file.status, file.address)
                if not all(isinstance(text, str) for text in texts) or not isinstance(size, int | None):
                    raise ValueError("a file that is not described as it should be")
            return cls(content["genome"], content["source"], content["tables"], files)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                path,
                found=f"no manifest of this version ({error})",
                expected=f"what an earlier fetch wrote, format {_FORMAT}, version {_VERSION}",
                remedy="Remove it to begin anew: peak files whose md5 is right are kept.",
            ) from error


@dataclass(frozen=True)
class Change:
    """What is otherwise than in the manifest, or than one expects, with one file.

    Parameters
    ----------
    accession
        Of the file.
    what
        ``replaced``, ``archived``, ``revoked``, ``unlisted`` or whatever status the portal gives it.
    detail
        As a sentence without the accession.
    """

    accession: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.accession} {self.detail}"


def compare(earlier: Manifest | None, files: Sequence[PinnedFile]) -> tuple[Change, ...]:
    """Say by name which files have become others, or have a status other than released.

    Parameters
    ----------
    earlier
        What was fetched before; `None` if nothing was.
    files
        What the portal says now.
    """
    before = {file.accession: file for file in earlier.files} if earlier else {}
    changes = []
    for file in files:
        old = before.get(file.accession)
        if old is not None and old.md5 and file.md5 and old.md5 != file.md5:
            detail = f"has other bytes than before (md5 {file.md5}, was {old.md5})"
            changes.append(Change(file.accession, "replaced", detail))
        if old is not None and old.status and file.status and old.status != file.status:
            detail = f"is {file.status} now, was {old.status}"
            changes.append(Change(file.accession, file.status, detail))
        elif file.status not in ("", "released"):
            changes.append(Change(file.accession, file.status, f"is {file.status}"))
    return tuple(changes)
