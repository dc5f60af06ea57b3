"""Tests of mfd; tests/mfdstore, tests/mfdmodel and tests/cli mirror the packages."""
