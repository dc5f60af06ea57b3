"""Where a store lies: a directory here, or an address on S3 or HTTP.

address      text -> a path or a checked address; credentials are no part of either
connection   an address -> a client of the server, with bounded waiting; its faults in a user's words
files        a place -> the files of its store, read by name
chunks       the same files for zarr; a chunk that is not there is an error
"""
