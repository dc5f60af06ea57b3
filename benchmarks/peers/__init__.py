"""Loaders side by side: each contestant in a process of its own, in the environment of its own packages.

exchange (windows, sequence, labels as plain files) ──> peer_* (contestants) ──> serving
                                                                                   │ lines of JSON
             environments ──> asking ──> equality (forms), turns ──> tables  <─────┘

`serving`, `exchange` and the `peer_*` of other projects run in those projects' environments: they import numpy, the
standard library and that project alone.
"""
