"""From places in a derived text back to the places in the text it was made of."""

from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class OffsetMap:
    """Pieces in order: text from `derived[i]` on was made of `starts[i]:ends[i]`.

    Where both are equally long, characters stand for each other; else each stands for the whole piece. What was
    dropped makes no piece, and lies inside whatever spans it.
    """

    derived: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    length: int = 0

    def add(self, start: int, end: int, length: int) -> None:
        """The next `length` characters were made of start:end."""
        if length:
            self.derived.append(self.length)
            self.starts.append(start)
            self.ends.append(end)
            self.length += length

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The smallest range of the original that start:end of the derived text was made of."""
        if not self.derived:
            return 0, 0
        last = max(end - 1, start)
        return self._edge(start)[0], self._edge(last)[1]

    def _edge(self, position: int) -> tuple[int, int]:
        """The range of the original that one character was made of."""
        index = max(0, bisect_right(self.derived, position) - 1)
        start, end = self.starts[index], self.ends[index]
        following = self.derived[index + 1] if index + 1 < len(self.derived) else self.length
        if following - self.derived[index] != end - start:
            return start, end
        exact = min(start + position - self.derived[index], end - 1)
        return exact, exact + 1


@dataclass(slots=True)
class Builder:
    """Writes a derived text together with its map."""

    source: str
    parts: list[str] = field(default_factory=list)
    offsets: OffsetMap = field(default_factory=OffsetMap)

    def keep(self, start: int, end: int) -> None:
        if start < end:
            self.put(self.source[start:end], start, end)

    def put(self, text: str, start: int, end: int) -> None:
        self.parts.append(text)
        self.offsets.add(start, end, len(text))

    def text(self) -> str:
        return "".join(self.parts)
