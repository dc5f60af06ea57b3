"""A store as files that other programs read.

    Store ──> choice ──> blocks of windows and labels ──┬──> release   the authors' regions, HDF5 and metadata
                                                        ├──> bed       windows, and the positive ones by experiment
                                                        └──> parquet   windows, pairs and experiments as tables

`exporting` publishes what one of them wrote. Each takes blocks, so that memory does not grow with the store.
"""
