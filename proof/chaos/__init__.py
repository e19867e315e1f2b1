"""Real servers under a nemesis: their clients' histories are judged, their tables compared.

zone      real processes on loopback, whose peers meet through ``network``
network   a TCP proxy before each peer port: cuts and slows single directions
clients   workers over XML-RPC, who write down what they were told
nemesis   faults, each with a start and a stop, in an order drawn from a seed
trouble   slow, full and broken disks and wrong clocks inside a server (``trouble.c``)
judgement what must hold once the zone has healed
table     the summary, and the page that keeps it
"""
