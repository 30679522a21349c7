"""A message under way: what it still has to be answered, and how it is given up."""

from __future__ import annotations

import threading

from gatehouse_bridge.http import Exchange
from gatehouse_bridge.messages import Message

NOTHING = Message(b"")


class Job:
    def __init__(self, message: Message = NOTHING) -> None:
        self.message = message
        self.unanswered = set(message.expected)
        self._given_up = threading.Event()
        self._exchange: Exchange | None = None
        self._turn = threading.Lock()

    @property
    def is_given_up(self) -> bool:
        return self._given_up.is_set()

    def left(self) -> list[str]:
        """The ids that nobody has answered; whoever asks answers them now."""
        left = sorted(self.unanswered)
        self.unanswered.clear()
        return left

    def takes(self, exchange: Exchange) -> None:
        with self._turn:
            self._exchange = exchange
            if self.is_given_up:
                exchange.cut()

    def give_up(self) -> None:
        """Nobody waits for the answer any more; nothing new is begun for it."""
        self._given_up.set()

    def cut(self) -> None:
        """Given up, and what is being read now ends."""
        with self._turn:
            self._given_up.set()
            if self._exchange is not None:
                self._exchange.cut()

    def pause(self, seconds: float) -> None:
        """Shorter when it is given up meanwhile."""
        self._given_up.wait(seconds)


class Jobs:
    """Those under way, each by the ids that its message must be answered."""

    LIMIT = 256

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()

    def begin(self, job: Job) -> bool:
        """False where an id waits for its answer already, or too many do. What is answered may be asked again at once,
        though its stream may not have ended yet."""
        with self._changed:
            waiting = (i for i in job.message.expected if i in self._jobs and i in self._jobs[i].unanswered)
            if len(self._jobs) >= self.LIMIT or any(waiting):
                return False
            self._jobs.update(dict.fromkeys(job.message.expected, job))
            return True

    def end(self, job: Job) -> None:
        with self._changed:
            for identifier in job.message.expected:
                if self._jobs.get(identifier) is job:
                    del self._jobs[identifier]
            self._changed.notify_all()

    def find(self, identifier: str) -> Job | None:
        with self._changed:
            return self._jobs.get(identifier)

    def cut(self, method: str = "") -> None:
        """Those of one method, or all."""
        with self._changed:
            found = [job for job in self._jobs.values() if not method or job.message.method == method]
        for job in found:
            job.cut()

    def wait(self, seconds: float) -> None:
        """Until none is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs, seconds)
