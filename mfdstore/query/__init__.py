"""Asking an opened store in a notebook: ``ds.mfd``.

regions ──┐
factors ──┼──> accessor (`ds.mfd`), which `xarray_engine` registers
counts <── kernels, origin
summary ──┘
"""
