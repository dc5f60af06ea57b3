"""Sources from the web: a genome into the cache, peak files and their tables into a folder that a store is built from.

genome    FASTA, lengths and blacklist of an assembly
plan      what a fetch from the ENCODE portal would do
encode    peak files of the portal, with its tables
manifest  what was fetched, pinned; what has become another since
complete  the sources of a build that the user did not give; what they and the build take
"""
