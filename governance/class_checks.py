"""Whether a data class is fit to be stored. What looks is loaded only when somebody asks."""

from collections.abc import Iterable
from typing import Final

from django.utils.module_loading import import_string

from governance.inspection.class_description import Case, ClassFault, DataClass

CHECKS: Final = "governance.inspection.data_class_checks.class_faults"


def class_faults(about: DataClass, tests: Iterable[Case]) -> list[ClassFault]:
    found: list[ClassFault] = import_string(CHECKS)(about, tests)
    return found
