"""What the commands share: who acts, how durations are written, and finding a row by its name."""

import re
from datetime import timedelta
from typing import Any, TypeVar

from django.core.checks import Tags
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model

from governance.duties import who_may
from governance.fence.actor import operating_system_user
from governance.models import User

NOT_ALLOWED = 3
"""Exit code, whether a rule of the manifest or a person's lack of rights refused."""

CHECKS = (Tags.files,)
"""What a command checks before it acts. The other checks load every page, which takes longer than the command."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Row = TypeVar("Row", bound=Model)


def add_actor(parser: CommandParser) -> None:
    parser.add_argument("--actor", metavar="EMAIL", help="the person who answers for this command")


def actor_of(email: str | None, *, permission: str) -> str:
    """As evidence names it. Raises CommandError for somebody unknown or inactive, or who may not do this."""
    actor = answering(email)
    if email and not found(User, email__iexact=email).has_perm(permission):
        raise CommandError(f"{email} may not do this: it takes {who_may(permission)}.", returncode=NOT_ALLOWED)
    return actor


def answering(email: str | None) -> str:
    """The same for what is somebody's own and takes no permission.

    Without a person the operating-system user acts, who holds the keys of the installation anyway.
    """
    if not email:
        return f"command:{operating_system_user()}"
    person = found(User, email__iexact=email)
    if not person.is_active:
        raise CommandError(f"--actor: {email} is not active.")
    return f"person:{person.email}"


def found(model: type[Row], **wanted: Any) -> Row:
    """The one row, or a CommandError that names what was looked for."""
    try:
        return model._default_manager.get(**wanted)
    except (model.DoesNotExist, ValidationError):  # type: ignore[attr-defined]
        looked_for = ", ".join(str(value) for value in wanted.values())
        raise CommandError(f"There is no {model._meta.verbose_name} '{looked_for}'.") from None


def duration(text: str) -> timedelta:
    """`90s`, `15m`, `1h`, `30d`, `2w`."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text.strip())
    if match is None:
        raise CommandError(f"'{text}' is no duration; write a number and s, m, h, d or w, e.g. 30d.")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])
