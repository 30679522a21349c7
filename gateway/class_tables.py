"""The data classes that rules ask for, made ready to look: once for each version of them, never on the event loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.utils.module_loading import import_string

from governance.inspection.class_description import DataClass
from governance.inspection.findings import DATA_CLASS, Findings, limit

TABLE: Final = "governance.inspection.data_classes.ClassTable"
NO_CLASSES: Final[Mapping[str, DataClass]] = {}


@dataclass(slots=True)
class WantedClasses:
    """Those that the same rules ask for. Threads may make the table at the same time: it is the same one."""

    classes: tuple[DataClass, ...] = ()
    unknown: tuple[str, ...] = ()
    """Names that rules use and nobody describes any more: whether they are there nobody can tell."""
    _table: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        return not self.classes or bool(self._table)

    def table(self) -> dict[str, Any]:
        """As the engine takes it."""
        if not self.is_ready:
            self._table = {"classes": import_string(TABLE)(self.classes)}
        return self._table

    def with_unknown(self, found: Findings) -> Findings:
        if not self.unknown:
            return found
        gone = (limit("limit.data_class", "", subject=name) for name in self.unknown)
        return replace(found, found=(*found.found, *gone))


NONE_WANTED: Final = WantedClasses()


class ClassTables:
    """Of one process; kept as long as the data classes stay the same."""

    def __init__(self) -> None:
        self._of: Mapping[str, DataClass] = NO_CLASSES
        self._wanted: dict[frozenset[str], WantedClasses] = {}

    def wanted(self, names: frozenset[str], classes: Mapping[str, DataClass]) -> WantedClasses:
        if classes is not self._of:
            self._of, self._wanted = classes, {}
        found = self._wanted.get(names)
        if found is None:
            found = self._wanted[names] = _wanted(names, classes)
        return found


def _wanted(names: frozenset[str], classes: Mapping[str, DataClass]) -> WantedClasses:
    own = sorted(name for name in names if name.startswith(DATA_CLASS))
    if not own:
        return NONE_WANTED
    bare = {name: name.removeprefix(DATA_CLASS) for name in own}
    return WantedClasses(
        tuple(classes[short] for short in bare.values() if short in classes),
        tuple(name for name, short in bare.items() if short not in classes),
    )
