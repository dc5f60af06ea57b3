"""From a store into batches, fast: from memory, from storage block by block, or on a device.

                        ┌─> ram ──> on_device ─┐
store ──> chunks ───────┤   └─> sharing        ├──> modes ─┐
                        └─> genome_cache ──> stream ───────┤
sampling (which windows), sampler (order, draws, shares) ──┴──> loader ──> batches ──> batch ──> expansion
                                                                   └──> dataset
"""

from mfdstore.loader.batch import Batch
from mfdstore.loader.dataset import BatchDataset, WindowDataset
from mfdstore.loader.loader import Loader
from mfdstore.loader.ram import RamData

__all__ = ["Batch", "BatchDataset", "Loader", "RamData", "WindowDataset"]
