"""From a store into batches, fast: everything is held compact in RAM and cut there by threads.

store ──> ram (codes of both strands, packed labels) ─┐
sampler (which windows, strand, shift) ───────────────┴─> kernels ──> loader ──> batch ──> a device
"""

from mfdstore.loader.batch import Batch
from mfdstore.loader.loader import Loader
from mfdstore.loader.ram import RamData

__all__ = ["Batch", "Loader", "RamData"]
