"""Readers of foreign formats; the one place that knows their columns and quirks.

fasta   reference genomes      -> bases of one chromosome
bed     BED, narrowPeak, ...   -> intervals by chromosome
encode  portal tables          -> experiments and their factors
"""
