"""Evidence that `oned` keeps its promises, and the programs that produce it.

`python -m proof.sim`      the shipped servers in a simulated world, thousands of seeds
`python -m proof.mutants`  named faults in the shipped source, each of which the simulator must find
`python -m proof.exhaust`  every reachable state of a small zone of the shipped core
`python -m proof.chaos`    real processes under kills, partitions and full disks, histories judged
"""
