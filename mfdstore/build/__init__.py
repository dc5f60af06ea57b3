"""Sources to a published store, in stages whose tasks own whole shards.

    settings   what is asked for
    plan       reads what is small, checks it all, and fixes everything that decides the store's bytes
    once       a task that was done before is not done again, if neither its inputs nor its outputs changed
    crew       threads here, processes here, or the workers of a dask cluster
    sequence   FASTA -> codes, and where they are blank
    peaks      peak files -> runs of labelled bins
    bins       runs -> which bins are kept, and their coordinates
    labels     runs -> window-major and experiment-major shards
    run        one stage after another; publishes the whole

A build grows in a hidden folder beside its name: ``store`` (what will be published), ``scratch`` (what later stages
read) and ``records`` (what is done). The same command goes on where a killed one stopped.
"""
