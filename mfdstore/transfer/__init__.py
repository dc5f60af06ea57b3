"""Whole stores from one place to another, file by file, each held against the manifest on the way.

listing     which files a store has, and whether the bytes of one are those that were written
side        several files at a time
upload      to S3: create-only, the root's zarr.json last
download    to a disk: beside its name, renamed when it is whole
run         copies a store from any place to another
"""
