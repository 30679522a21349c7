"""Masks fields of a result that rules name by path. Pure: no Django, no database.

A path is the names of members joined by dots, without positions in lists: `customer.accounts.iban`. A glob's `*` stands
for any number of letters, dots too, and a leading `*.` also for nothing. What stands there is replaced as a whole. Text
that is JSON is masked inside; other content could repeat the field in words and is withheld: fail closed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from re import Pattern
from re import compile as compiled
from typing import Any, Final

from governance import canonical

MASKED: Final = "[MASKED]"
WITHHELD: Final = "[Withheld: a rule masks fields of this result, and this part of it is not JSON.]"
WITHHELD_PATH: Final = "(not JSON)"
MOST_PLACES: Final = 100
"""Different ones that are told; all are masked."""
LONGEST_PATH: Final = 200
PLAIN_BLOCKS: Final = frozenset(("resource_link",))
"""They name content, they are none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule masked something, and how often; never what."""

    rule: str
    path: str
    count: int

    def as_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "path": self.path, "count": self.count}


def mask_fields(result: Mapping[str, Any], masks: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[Any, list[Place]]:
    """A copy of an MCP result without what the masks, (rule, globs) each, name; and where they masked."""
    walk = _Walk([(rule, _pattern(glob)) for rule, globs in masks for glob in globs])
    masked = {name: walk.member(name, value) for name, value in result.items()}
    return masked, list(walk.places())


@lru_cache(maxsize=1000)
def _pattern(glob: str) -> Pattern[str]:
    either = (glob, glob.removeprefix("*.")) if glob.startswith("*.") else (glob,)
    return compiled("|".join(translate(each) for each in either))


@dataclass(frozen=True, slots=True)
class _Walk:
    """One pass over one result. Its depth is known to be bounded."""

    patterns: list[tuple[str, Pattern[str]]]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def places(self) -> Iterator[Place]:
        for (rule, path), count in self.counts.most_common(MOST_PLACES):
            yield Place(rule, path, count)

    def member(self, name: str, value: Any) -> Any:
        """Of the result itself, whose members are the protocol's."""
        if name in ("content", "contents") and isinstance(value, list):
            return [self.block(block) for block in value]
        if name == "messages" and isinstance(value, list):
            return [self.message(message) for message in value]
        return value if isinstance(value, str) else self.value(value, "")

    def message(self, message: Any) -> Any:
        if not isinstance(message, dict) or "content" not in message:
            return self.value(message, "")
        content = message["content"]
        shown = [self.block(each) for each in content] if isinstance(content, list) else self.block(content)
        return {**message, "content": shown}

    def block(self, block: Any) -> Any:
        """A piece of content, or of a resource."""
        if not isinstance(block, dict) or block.get("type") in PLAIN_BLOCKS:
            return block
        if isinstance(resource := block.get("resource"), dict):
            return {**block, "resource": self.block(resource)}
        text = block.get("text")
        masked = self.text(text) if isinstance(text, str) else None
        if masked is not None:
            return {**block, "text": masked}
        for rule in dict.fromkeys(rule for rule, _ in self.patterns):
            self.counts[rule, WITHHELD_PATH] += 1
        kept = {name: block[name] for name in ("uri", "annotations") if name in block}
        return {**kept, **({"type": "text"} if "type" in block else {}), "text": WITHHELD}

    def text(self, text: str) -> str | None:
        """None for what is no JSON, or could be read in two ways."""
        try:
            value = canonical.parse(text.encode())
        except (canonical.NotCanonical, UnicodeEncodeError):
            return None
        return text if (masked := self.value(value, "")) == value else canonical.encode(masked).decode()

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {name: self.named(member, f"{path}.{name}" if path else name) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member, path) for member in value]
        return value

    def named(self, value: Any, path: str) -> Any:
        rules = {rule for rule, pattern in self.patterns if pattern.match(path)}
        for rule in rules:
            self.counts[rule, path[:LONGEST_PATH]] += 1
        return MASKED if rules else self.value(value, path)
