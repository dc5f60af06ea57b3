"""The release of MFD's authors: regions, pairs of region and experiment in HDF5, metadata (btae403).

    layout ──> regions ──┐
       └─────> overlaps ─┼──> import_mfd
       └─────> metadata ─┘

`layout` says how the files are called, laid out and what each column of the metadata means; `mfdstore.export.release`
writes by it what is read here.
"""
