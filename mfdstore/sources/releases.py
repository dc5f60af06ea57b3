"""Where the published assemblies, the portal and the blacklists are found, and what is known of their files.

A digest stands here only where independent public sources agree on it. Where none is pinned, the FASTA is held
against the ``md5sum.txt`` that UCSC publishes beside it, and every FASTA against the lengths of its chromosomes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from mfdstore.errors import ConfigError
from mfdstore.genomes import Assembly, find_assembly, some

BLACKLIST_COMMIT: Final = "61a04d2c5e49341d76735d485c61f0d1177d08a8"
"""Of the repository Boyle-Lab/Blacklist: its lists as they have stood since version 2."""


@dataclass(frozen=True)
class Sites:
    """Base addresses, without a slash at their ends; another one each for mirrors.

    Parameters
    ----------
    ucsc
        UCSC's download server; variable ``MFD_UCSC``.
    portal
        The ENCODE portal; variable ``MFD_ENCODE``.
    blacklist
        A folder with ``lists/hg38-blacklist.v2.bed.gz`` and the like; variable ``MFD_BLACKLIST``.
    """

    ucsc: str = "https://hgdownload.soe.ucsc.edu"
    portal: str = "https://www.encodeproject.org"
    blacklist: str = f"https://raw.githubusercontent.com/Boyle-Lab/Blacklist/{BLACKLIST_COMMIT}"

    @classmethod
    def from_environment(cls) -> Sites:
        """Take what the variables name, and the publishers' own addresses for the rest."""
        return cls(
            (os.environ.get("MFD_UCSC") or cls.ucsc).rstrip("/"),
            (os.environ.get("MFD_ENCODE") or cls.portal).rstrip("/"),
            (os.environ.get("MFD_BLACKLIST") or cls.blacklist).rstrip("/"),
        )


@dataclass(frozen=True)
class Release:
    """What there is to download of an assembly.

    Parameters
    ----------
    name
        UCSC's.
    portal_name, organism
        As the ENCODE portal writes them.
    fasta_digest, fasta_size
        Of ``NAME.fa.gz``; `None` where none is pinned. The size in bytes.
    has_blacklist
        Whether the Boyle lab publishes a version 2 list of it.
    blacklist_digest
        Of that list; `None` where none is pinned.
    """

    name: str
    portal_name: str
    organism: str
    fasta_digest: str | None
    fasta_size: int | None
    has_blacklist: bool
    blacklist_digest: str | None

    @property
    def assembly(self) -> Assembly:
        """Names, lengths and accessions of the assembly."""
        found = find_assembly(self.name)
        assert found is not None, self.name
        return found

    def fasta_address(self, sites: Sites) -> str:
        """Address of the soft-masked FASTA, gzip."""
        return f"{sites.ucsc}/goldenPath/{self.name}/bigZips/{self.name}.fa.gz"

    def md5sum_address(self, sites: Sites) -> str:
        """Address of the list of digests beside the FASTA."""
        return f"{sites.ucsc}/goldenPath/{self.name}/bigZips/md5sum.txt"

    def blacklist_address(self, sites: Sites) -> str:
        """Address of the blacklist."""
        return f"{sites.blacklist}/lists/{self.name}-blacklist.v2.bed.gz"


HUMAN: Final = "Homo sapiens"
MOUSE: Final = "Mus musculus"
RELEASES: Final[tuple[Release, ...]] = (
    Release(
        "hg38",
        "GRCh38",
        HUMAN,
        "md5:1c9dcaddfa41027f17cd8f7a82c7293b",
        983_659_424,
        True,
        "sha256:c92e763af17271446194991e71917ac220593a5a3d40a06667be24178ef08cf2",
    ),
    Release("hg19", "hg19", HUMAN, "md5:806c02398f5ac5da8ffd6da2d1d5d1a9", None, True, None),
    Release(
        "mm10",
        "mm10",
        MOUSE,
        "md5:db005b65828db31735f384e4c5787be5",
        None,
        True,
        "sha256:febafb843c6df492f9a9fc418f8796762ee899d9864330fb509ae2d38ddc0b46",
    ),
    Release("mm39", "GRCm39", MOUSE, None, None, False, None),
)


def find_release(name: str) -> Release | None:
    """Find the release of an assembly by any of its names; `None` for a genome of the user's own."""
    assembly = find_assembly(name)
    return next((one for one in RELEASES if assembly is not None and one.name == assembly.names[0]), None)


def known_release(name: str) -> Release:
    """Find a release by any of its names.

    Raises
    ------
    ConfigError
        If it is none of the known ones.
    """
    release = find_release(name)
    if release is None:
        raise ConfigError(
            f"genome {name!r}",
            found="no published assembly that is known here",
            expected=f"one of {some(one.name for one in RELEASES)}",
            remedy="Name one of these, or give the files of your own: --fasta, --peaks and --metadata.",
        )
    return release
