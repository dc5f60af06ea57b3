"""Sources drawn from planted factors, written as ordinary files with their truth beside them.

settings -> plan (motifs, experiments) -> landscape (genome, loci, sites) -> letters -> genome.fa.gz
                        |                        |-> peaks -> peaks/, tables -> metadata.tsv, report
                        |                        |-> tasks -> variants.vcf.gz, enhancers.tsv
                        └------------------------┴-> truth -> truth/
simulation writes it all:  simulation.simulate_sources(out, settings.SimulationSettings(seed=0))
"""
