"""Sources into a labelled Zarr store, and a store into batches; knows nothing of models.

sources -> windows, labels, dinucleotides, metadata -> build -> STORE -> sampler -> loader -> Batch
                                                       verify, xarray_engine <-┘
"""
