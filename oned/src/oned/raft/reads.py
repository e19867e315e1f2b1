"""How a server that does not lead learns how far it must be to show what is true now.

It puts numbered questions to its leader, which answers with an index once it is sure that it
led when it got the question. When this server has applied that index, its tables hold all
that was acknowledged anywhere before the question was put (dissertation, 6.4). That stays
true whoever leads afterwards.

A question is put in two ways. A read index request goes out as soon as somebody wants to
read; there is one at a time, and it speaks for all reads that came before it was sent. And
each first answer to a heartbeat puts one along the way, which a later append request
answers: it costs no message, and bounds how old this server's tables can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from oned.raft.timing import NEVER, NOT_YET
from oned.raft.types import Index

QUESTIONS = 64
"""Questions that are remembered; the answer to an older one is of no use any more."""

ANSWERS = 16
"""Answers that wait to be applied; beyond that the newest takes the place of the last."""

_NUMBERS = 1 << 52
"""Where numbers begin, at random: no run of a server takes an answer for its predecessor's."""


class Reads:
    """The questions of one server, what is answered, and the reads that wait for it.

    Attributes:
        reached: the newest question whose answer is applied here.
        fresh_at: when that one was put: what was acknowledged before is in these tables.
        outstanding: the question that a read index request carries now; 0 for none.
        deadline: when that request must be repeated or given up.
        heartbeat: the leader's round whose answer put the last question along the way.
    """

    __slots__ = (
        "_answers",
        "_failed",
        "_give_up_at",
        "_last",
        "_questions",
        "_random",
        "_wanted",
        "deadline",
        "fresh_at",
        "heartbeat",
        "outstanding",
        "reached",
    )

    def __init__(self, random: Callable[[], float]) -> None:
        self.reached = 0
        self.fresh_at = NOT_YET
        self.outstanding = 0
        self.deadline = NEVER
        self.heartbeat = 0
        self._random = random
        self._last = 0
        self._questions: deque[tuple[int, float]] = deque(maxlen=QUESTIONS)
        self._answers: deque[tuple[int, Index, float]] = deque()
        self._give_up_at = NEVER
        self._wanted = 0
        self._failed = 0

    def put(self, now: float) -> int:
        """The number of a new question, put now."""
        self._last = self._newest() + 1
        self._questions.append((self._last, now))
        return self._last

    def join(self) -> int:
        """Wait for the answer to any question that is put from now on: its least number."""
        self._wanted = self._newest() + 1
        return self._wanted

    def outcome(self, ticket: int) -> bool | None:
        """What became of a read that joined: it may go on, was given up, or (None) waits."""
        if self.reached >= ticket:
            return True
        if self._answers and self._answers[-1][0] >= ticket:
            return None
        return False if ticket <= self._failed else None

    @property
    def must_ask(self) -> bool:
        """Whether reads wait for a question that was not put yet, and may be put now."""
        return not self.outstanding and self._wanted > 0

    def sent(self, now: float, *, retry_seconds: float, patience_seconds: float) -> int:
        """Put the one question that speaks for all who joined; its number."""
        self.outstanding = self.put(now)
        self._give_up_at = now + patience_seconds
        self.deadline = min(now + retry_seconds, self._give_up_at)
        return self.outstanding

    def repeat(self, now: float, retry_seconds: float) -> bool:
        """The deadline has passed: whether to send the request again, or reads were given up."""
        if now >= self._give_up_at:
            self.give_up()
            return False
        self.deadline = min(now + retry_seconds, self._give_up_at)
        return True

    def give_up(self) -> None:
        """Nobody answers: the reads that wait for an answer will not get one."""
        self._failed = self._last = max(self._wanted, self._last)
        self.outstanding = self._wanted = 0
        self.deadline = self._give_up_at = NEVER

    def answer(self, number: int, index: Index) -> None:
        """The leader has answered a question: everything up to ``index`` must be applied."""
        questions = self._questions
        if not questions or not questions[0][0] <= number <= questions[-1][0]:
            return  # answered before, forgotten, or put by a former run of this server
        while questions[0][0] < number:
            questions.popleft()
        if questions[0][0] != number:
            return
        answer = (number, index, questions.popleft()[1])
        if len(self._answers) < ANSWERS:
            self._answers.append(answer)
        else:
            self._answers[-1] = answer
        if number >= self._wanted:
            self._wanted = 0
        if number >= self.outstanding:
            self.outstanding = 0
            self.deadline = self._give_up_at = NEVER

    def applied(self, index: Index) -> None:
        """Everything up to ``index`` is applied here."""
        while self._answers and self._answers[0][1] <= index:
            self.reached, _, at = self._answers.popleft()
            self.fresh_at = max(self.fresh_at, at)

    def _newest(self) -> int:
        if not self._last:
            self._last = 1 + int(self._random() * _NUMBERS)
        return self._last
