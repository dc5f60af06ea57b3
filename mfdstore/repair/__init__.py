"""Gives damaged files of a store their bytes back: from what else the store holds, else from its sources.

    bench        what is at fault, where files are prepared, and how one takes its place
    metadata     each zarr.json, the copy of them all, the manifest
    experiments  accessions and factors, from the attributes and the tables
    peaks        peak files to runs and windows, by the tasks of the build
    windows      coordinates, from each other, the settings and the peaks
    sequence     FASTA to codes, by the tasks of the build
    labels       either order of the labels from the other, else from the peaks
    run          one after another, and verifies at the end

A file takes its place only if its bytes are those of the manifest, and by a rename: whoever reads the store meanwhile
sees the damaged file or the whole one.
"""
