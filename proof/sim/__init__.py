"""The shipped servers in a simulated world: one seed decides all that happens.

What runs is the shipped source: the driver, the core, the API from XML to XML, the peers' links
and frames, the database rules on real SQLite. What is simulated is what they stand on:

clock       true time, and each machine's own view of it: drift, steps
loop        one event loop a process; all of them take turns on the simulated time
doors       where the shipped source reaches for time, chance, disk: replaced once a process
disk        SQLite in memory; a crash keeps any commit from the last synced one on
network     connections that delay, hold, lose, double and reorder; partitions; resets
machine     one server: processes that live, pause and die on a disk and a clock
clients     calls by XML-RPC, and what was told of them
faults      the plan of a seed: which faults, when, against whom
ledger      what is true: who led, what was committed, the reference tables
rules       what must hold, looked at after every event
exams       what a healed zone must be able to do; ``traps`` lead it where mistakes show
situations  what several traps need: who is cut from whom, who leads after whom
world       all of it wired together
trial       what faults and exams can do with a world, and ask of it
run         one seed, from the first event to the verdict
shrink      the smallest plan that still breaks a rule
table       what many seeds came to
"""
