"""Named faults put into the shipped source, each of which the simulator must find.

A simulator that finds nothing proves little until it is seen to find what is there. So each
mutant here is a real mistake, many of them made by real systems, as a few words of
source replaced by others; ``python -m proof.mutants`` runs the simulator on each until a rule is
broken, and fails when one survives.

mutant     what a mutant is, and how it is applied to a source text
faults     the mutants, a file for each room of the source
catalogue  all of them
hook       loads the mutated text when the module is imported
trial      one process: one mutant, seed after seed
runner     all trials, two at a time, and the verdict
table      the page in docs/explanation
"""
