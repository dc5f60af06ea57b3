"""Reads a store back and holds it against its manifest, against itself and against its sources.

    report       findings and damage, as results
    places       what a damaged file holds: windows, experiments, positions
    arrays       values against digests, and arrays against each other
    sequence     bases of the FASTA against codes, by strings
    labels       peak files against labels and filters, by pyranges
    run          one check after another

Sources are read by the readers of the build; codes and labels are then computed by a second way that shares nothing
with it. No array is read whole: blocks of windows, and stretches of positions.
"""

from mfdstore.verify.report import Damage, Finding, VerifyReport
from mfdstore.verify.run import verify_store

__all__ = ["Damage", "Finding", "VerifyReport", "verify_store"]
