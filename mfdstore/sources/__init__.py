"""Readers of foreign formats; the one place that knows their columns and quirks.

fasta        reference genomes            -> bases of one chromosome
bed          BED, narrowPeak, broadPeak   -> intervals by chromosome
peak_folder  one BED file an experiment   -> intervals by experiment
encode       portal tables                -> experiments and their factors
"""
