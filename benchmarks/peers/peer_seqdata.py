"""SeqData: windows read from the FASTA into a Zarr once, loaded into RAM, given by its DataLoader for torch.

It sorts the windows of each batch, which is quicker, and draws no strand or shift by itself.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import seqdata as sd
import seqpro as sp
import torch
from numpy.typing import NDArray

from peers.exchange import Exchange
from peers.pairs import expand_pairs
from peers.serving import Contestant, serve

Batch = dict[str, NDArray[Any]]


def as_bytes(batch: Batch) -> Batch:
    return {name: array.view(np.uint8) for name, array in batch.items()}


def prepare(exchange: Exchange) -> list[Contestant]:
    data = sd.from_region_files(
        sd.GenomeFASTA(name="bases", fasta=str(exchange.fasta), batch_size=8192, n_threads=1),
        path=str(exchange.folder / "seqdata.zarr"),
        fixed_length=exchange.n_bases,
        bed=str(exchange.bed),
        overwrite=True,
    ).load()
    data["label_bits"] = ("_sequence", "label_byte"), exchange.label_bits

    def unpack_labels(batch: Batch) -> NDArray[np.uint8]:
        return np.unpackbits(batch["label_bits"], axis=1, count=exchange.n_experiments)

    def expand(batch: Batch) -> Batch:
        return {"bases": sp.DNA.ohe(batch["bases"]), "label_bits": unpack_labels(batch)}

    def load(
        windows: NDArray[np.int64], batch_size: int, *, names: list[str], kind: str, pairs: bool = False
    ) -> Any:
        memory = np.empty((batch_size * pairs, exchange.positions, 16), np.float32)

        def expand_to_pairs(batch: Batch) -> Batch:
            out = memory[: len(batch["bases"])]
            expand_pairs(batch["bases"].view(np.uint8), out)
            return {"bases": out, "label_bits": unpack_labels(batch)}

        compact = kind == "compact"
        return sd.get_torch_dataloader(
            data,
            sample_dims="_sequence",
            variables=names,
            transform=as_bytes if compact else expand_to_pairs if pairs else expand,
            dtypes=torch.uint8 if compact else torch.float32,
            return_tuples=True,
            batch_size=batch_size,
            sampler=windows.tolist(),
        )

    def contestant(name: str, kind: str, gives: str, form: str, open_batches: Any) -> Contestant:
        return Contestant(
            name,
            kind,
            gives,
            form,
            exchange.n_each["fast" if kind == "compact" else "expanded"],
            open_batches,
            lambda batch: (batch[0], batch[1] if len(batch) > 1 else None),
            sorted_in_batch=True,
        )

    both = ["bases", "label_bits"]
    return [
        contestant(
            "SeqData in RAM, sequence alone", "compact", "bases, no labels", "bases",
            partial(load, names=["bases"], kind="compact"),
        ),
        contestant(
            "SeqData in RAM", "compact", "bases, packed labels", "bases",
            partial(load, names=both, kind="compact"),
        ),
        contestant(
            "SeqData in RAM, seqpro's one-hot", "expanded", "one-hot of 4 bases and labels, float32",
            "bases, channels last", partial(load, names=both, kind="expanded"),
        ),
        contestant(
            "SeqData in RAM, one-hot of pairs by numpy's take", "expanded",
            "one-hot of 16 pairs and labels, float32", "pairs, channels last",
            partial(load, names=both, kind="expanded", pairs=True),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    serve(prepare, "seqdata", "seqpro", "torch", "xarray", "numpy")
