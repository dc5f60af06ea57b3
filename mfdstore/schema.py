"""Names and numbers of the store's format: dimensions, arrays, attributes, versions.

docs/format.md is the text of what stands here as constants.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

FORMAT_NAME: Final = "mfdstore"
FORMAT_VERSION: Final = 1
"""Version of the layout on disk, apart from the package's version."""

# dimensions
WINDOW: Final = "window"
EXPERIMENT: Final = "experiment"
POSITION: Final = "position"
LABEL_BYTE: Final = "label_byte"
WINDOW_BYTE: Final = "window_byte"

# arrays of the root group
CHROM: Final = "chrom"
START: Final = "start"
END: Final = "end"
SPLIT: Final = "split"
N_POSITIVE: Final = "n_positive"
LABEL_BITS: Final = "label_bits"
LABEL_BITS_BY_EXPERIMENT: Final = "label_bits_by_experiment"

COORDINATES: Final = (CHROM, START, SPLIT, N_POSITIVE, END)
"""Coordinates of the windows, in the order that the root's attribute lists them."""

# group of the codes, one array a chromosome
SEQUENCE: Final = "sequence"

# group of the digests of all files, its arrays and their dimensions
MANIFEST: Final = "manifest"
FILE_NAMES: Final = "name"
FILE_DIGESTS: Final = "sha256"
METADATA: Final = "metadata"
MANIFEST_ARRAYS: Final = (FILE_NAMES, FILE_DIGESTS, METADATA)
FILE: Final = "file"
DIGEST_BYTE: Final = "digest_byte"
METADATA_BYTE: Final = "metadata_byte"

# the attribute of the root group that holds everything the format defines
ATTRIBUTES: Final = "mfdstore"

DIGESTED: Final = (
    "genome",
    "bin_size",
    "min_overlap",
    "min_experiments",
    "chroms",
    "chrom_sizes",
    "factors",
)
"""Attributes that give the arrays their meaning, and so count in the store's digest as they do."""

# arrays that only the decoded view has
LABEL: Final = "label"

Split = Literal["train", "valid", "test", "gap"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
"""Order gives the stored code: 0 train, 1 valid, 2 test, 3 gap (belongs to none, so that windows of two
splits share no base)."""

Role = Literal["biological", "technical"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Kind = Literal["category", "multi_category", "number", "date"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MULTI_SEPARATOR: Final = ","
"""Between the values of one multi-category cell, as the ENCODE portal writes them."""

DEFAULT_BIN_SIZE: Final = 128
DEFAULT_MIN_OVERLAP: Final = 64
DEFAULT_MIN_EXPERIMENTS: Final = 2
DEFAULT_POSITIONS: Final = 1152
"""Positions a window has unless the reader asks for another number (paper, section 2)."""

RESERVED: Final = frozenset(
    {WINDOW, EXPERIMENT, POSITION, LABEL_BYTE, WINDOW_BYTE, CHROM, START, END, SPLIT, N_POSITIVE}
    | {LABEL_BITS, LABEL_BITS_BY_EXPERIMENT, SEQUENCE, MANIFEST, LABEL}
)
"""Names of the format itself: no factor may take one."""

NAME_BYTES: Final = 200
"""Longest name of a factor or chromosome: each names a folder of the store, and most disks end names at 255."""

ROWS_PER_CHUNK: Final = 512
"""Windows in an inner chunk of the labels: the unit of a read."""
ROWS_PER_SHARD: Final = 16_384
"""Windows in a shard of the labels: the unit of a write, owned by one task."""
EXPERIMENTS_PER_SHARD: Final = 8
"""Experiments in a shard of the labels by experiment: one byte of a row."""
CODES_PER_SHARD: Final = 1 << 24
"""Positions in a shard of the sequence."""


def n_bytes(n_bits: int) -> int:
    """Count the bytes that hold `n_bits` packed bits.

    >>> n_bytes(148)
    19
    """
    return -(-n_bits // 8)
