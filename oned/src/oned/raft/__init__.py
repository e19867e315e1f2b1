"""Consensus with nothing but consensus in it.

No asyncio, clock, I/O or randomness: events and the time (monotonic seconds) go
in, messages, writes and the next deadline come out. ``oned.node`` is the
production driver, the tests' simulator is another.
"""
