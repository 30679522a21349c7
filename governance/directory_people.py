"""What a directory says of somebody, and what follows for the person here, in one transaction.

The directory's row is its word; the person is ours. Only a *change* of what the directory says about being active does
something: whoever was ended here is not brought back by a directory that repeats itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet
from django.db.models.functions import Lower

from governance.directory_gifts import NOTHING, apply, gifts_of
from governance.directory_losses import comes_back, leaves
from governance.directory_sync import NameTaken, Sync, folded, new_id
from governance.duties import may_do_anything, may_sign_in_as
from governance.facts import Fact
from governance.house_rules import RuleBroken
from governance.models import DirectoryEmail, DirectoryMember, DirectoryUser, Offboarding, User

NO_ADDRESS = "It gives no e-mail address, so nobody here can be her."
SOMEBODY_IS_HERE = "Somebody here has this e-mail address already. Confirm that she is the same."
HAS_RIGHTS = "It gives another e-mail address. She has rights here, so an owner changes it by hand."
ADDRESS_TAKEN = "It gives another e-mail address, which somebody else here has."


@dataclass(frozen=True, slots=True)
class Told:
    """What a directory says of somebody, as far as anything here follows from it; `body` is all of it."""

    user_name: str
    external_id: str = ""
    display_name: str = ""
    email: str = ""
    emails: tuple[str, ...] = ()
    active: bool = True
    manager_ref: str = ""
    body: dict[str, Any] = field(default_factory=dict)


def arrives(told: Told, sync: Sync) -> DirectoryUser:
    """Raises NameTaken."""
    row = DirectoryUser(id=new_id(sync.now), directory=sync.directory, created_at=sync.now)
    _say(row, told, sync)
    was_here = _find_person(row, sync)
    row.save(force_insert=True)
    _add_emails(row, _folded(told.emails))
    _settle_in(row, sync, was_here=was_here)
    _set_manager_of_reports(row)
    sync.note("user added", user=row.user_name, person=row.person.email if row.person else "")
    return row


def changes(row: DirectoryUser, told: Told, sync: Sync) -> None:
    """Raises NameTaken."""
    was_active, had_manager = row.active, bool(row.manager_ref)
    differences = _differences(row.body, told.body)
    row.version += 1
    _say(row, told, sync)
    is_met = row.person_id is not None
    was_here = is_met or _find_person(row, sync)
    row.save()
    _keep_emails(row, told.emails)
    sync.note("user changed", user=row.user_name, fields=differences)
    _settle_in(row, sync, was_here=was_here and not is_met)
    if row.person is not None and not is_met:
        apply(row.person, NOTHING, gifts_of({row.id})[row.id])
    if had_manager and not row.manager_ref and row.person_id:
        User.objects.filter(id=row.person_id).update(manager=None)
    if was_active and not row.active:
        leaves(row, sync)
    elif row.active and not was_active:
        comes_back(row, sync)
        _bring_back(row, sync)


def is_deleted(row: DirectoryUser, sync: Sync) -> None:
    """The row stays as a tombstone, the person for evidence."""
    row.deleted_at = row.changed_at = sync.now
    row.active = False
    row.version += 1
    row.save()
    DirectoryMember.objects.filter(user=row).delete()
    sync.note("user deleted", user=row.user_name)
    leaves(row, sync)


def adopt(row: DirectoryUser, person: User, *, acting: User, sync: Sync) -> None:
    """A human confirms that they are the same; from now on the directory decides whether she is here. Raises
    RuleBroken."""
    _check_adoption(row, person, acting)
    row.person, row.problem = person, ""
    row.save(update_fields=["person", "problem"])
    sync.record(Fact("directory.person_adopted", f"person:{person.email}", {"directory": sync.directory.name}))
    _update_profile(row, person, sync)
    apply(person, NOTHING, gifts_of({row.id})[row.id])
    _set_manager_of_reports(row)


def whom_it_may_be(row: DirectoryUser) -> User | None:
    """The person with one of her addresses, while nobody has confirmed."""
    keys = [key for key in row.emails.values_list("key", flat=True) if key]
    return User.objects.filter(email__in=keys).first() if keys and row.person_id is None else None


def _check_adoption(row: DirectoryUser, person: User, acting: User) -> None:
    if person.email not in set(row.emails.values_list("key", flat=True)):
        raise RuleBroken("", "Only somebody with the same e-mail address can be her.")
    if person.is_superuser:
        raise RuleBroken("", "No directory decides about owners.")
    if not may_sign_in_as(acting, person):
        raise RuleBroken("", "She has duties that you lack. Somebody who has them too, or an owner, confirms it.")
    if not row.active or row.deleted_at is not None:
        raise RuleBroken("", "The directory says that she has left. Offboard her instead.")
    if row.person_id is not None or DirectoryUser.objects.filter(person=person, deleted_at=None).exists():
        raise RuleBroken("", "One of them belongs to somebody already.")


def _say(row: DirectoryUser, told: Told, sync: Sync) -> None:
    """As the row will say it; it is not saved yet. Raises NameTaken."""
    key = folded(told.user_name)
    if _others(row, sync).filter(user_name_key=key).exists():
        raise NameTaken(told.user_name)
    row.user_name, row.user_name_key = told.user_name, key
    row.external_id, row.display_name = told.external_id, told.display_name
    row.email, row.active = told.email, told.active
    row.manager_ref, row.body = told.manager_ref, told.body
    row.changed_at = sync.now


def _others(row: DirectoryUser, sync: Sync) -> Any:
    return DirectoryUser.objects.filter(directory=sync.directory, deleted_at=None).exclude(id=row.id)


def _keep_emails(row: DirectoryUser, emails: Iterable[str]) -> None:
    wanted = _folded(emails)
    kept = set(row.emails.values_list("key", flat=True))
    if kept - wanted:
        row.emails.filter(key__in=kept - wanted).delete()
    _add_emails(row, wanted - kept)


def _add_emails(row: DirectoryUser, keys: Collection[str]) -> None:
    DirectoryEmail.objects.bulk_create(DirectoryEmail(user=row, key=key) for key in sorted(keys))


def _folded(emails: Iterable[str]) -> set[str]:
    return {folded(email) for email in emails}


def _find_person(row: DirectoryUser, sync: Sync) -> bool:
    """Finds who that is here, or makes her; the row is not saved yet. True for somebody it brought before."""
    address = _usable(row.email)
    if not address:
        row.problem = NO_ADDRESS
        return False
    person = _with_address(address).first()
    if person is None:
        row.person, row.problem = _new_person(row, address, sync), ""
        return False
    if not _was_its_own(row, person, sync):
        row.problem = SOMEBODY_IS_HERE
        return False
    row.person, row.problem = person, ""
    return True


def _settle_in(row: DirectoryUser, sync: Sync, *, was_here: bool) -> None:
    if row.person is None:
        return
    _update_profile(row, row.person, sync)
    if was_here and row.active:
        comes_back(row, sync)
        _bring_back(row, sync)


def _with_address(address: str) -> QuerySet[User]:
    """Whatever the case it is written in, by the index that keeps addresses unique."""
    return User.objects.alias(folded=Lower("email")).filter(folded=address).order_by("id")


def _new_person(row: DirectoryUser, address: str, sync: Sync) -> User:
    name = row.display_name[:200]
    person = User.objects.create(email=address, name=name, is_active=row.active, password=make_password(None))
    sync.record(Fact("directory.person_added", f"person:{person.email}", {"directory": sync.directory.name}))
    return person


def _was_its_own(row: DirectoryUser, person: User, sync: Sync) -> bool:
    """Deleted by the same directory before, and nobody else's since."""
    if person.is_superuser:
        return False
    links = DirectoryUser.objects.filter(person=person).exclude(id=row.id)
    return not links.filter(deleted_at=None).exists() and links.filter(directory=sync.directory).exists()


def _bring_back(row: DirectoryUser, sync: Sync) -> None:
    """Rights come back from groups only; tokens, grants, credentials and approvals do not."""
    person = row.person
    if person is None or person.is_active:
        return
    _close_unfinished_ending(person, sync)
    person.is_active = True
    person.save(update_fields=["is_active"])
    apply(person, NOTHING, gifts_of({row.id})[row.id])
    sync.record(Fact("directory.person_back", f"person:{person.email}", {"directory": sync.directory.name}))
    sync.note("back", person=person.email)


def _close_unfinished_ending(person: User, sync: Sync) -> None:
    """So that she can be ended again at once, should the directory change its mind once more."""
    under_way = Offboarding.objects.filter(person=person, state=Offboarding.State.ENFORCING)
    problem = f"{sync.directory} brought her back before every gateway had confirmed."[:500]
    under_way.update(state=Offboarding.State.INCOMPLETE, problem=problem)


def _update_profile(row: DirectoryUser, person: User, sync: Sync) -> None:
    """Name, address and manager are the directory's; an address by which somebody with rights signs in is not."""
    changed: dict[str, Any] = {}
    if row.display_name and row.display_name[:200] != person.name:
        changed["name"] = row.display_name[:200]
    problem, address = "", _usable(row.email)
    if address and address != person.email:
        problem = _why_not_renamed(person, address)
        if not problem:
            changed["email"] = address
    manager = _manager_of(row)
    if manager is not None and manager.id not in (person.id, person.manager_id):
        changed["manager"] = manager
    if changed:
        _rename(person, changed, sync)
    if problem != row.problem:
        row.problem = problem
        row.save(update_fields=["problem"])


def _rename(person: User, changed: dict[str, Any], sync: Sync) -> None:
    told = {column: [str(getattr(person, column) or ""), str(value)] for column, value in changed.items()}
    sync.record(Fact("directory.person_changed", f"person:{person.email}", told))
    sync.note("person changed", person=person.email, fields=told)
    for column, value in changed.items():
        setattr(person, column, value)
    person.save(update_fields=list(changed))


def _why_not_renamed(person: User, address: str) -> str:
    """Whoever can rename somebody has her password reset mailed elsewhere."""
    if may_do_anything(person):
        return HAS_RIGHTS
    return ADDRESS_TAKEN if _with_address(address).exclude(id=person.id).exists() else ""


def _manager_of(row: DirectoryUser) -> User | None:
    """Known by the id we gave or the one the directory uses itself; who is not here yet is found when she comes."""
    if not row.manager_ref:
        return None
    rows = DirectoryUser.objects.filter(directory_id=row.directory_id, deleted_at=None).exclude(person=None)
    by_own_id = rows.filter(external_id=row.manager_ref).select_related("person").first()
    try:
        found = rows.filter(id=row.manager_ref).select_related("person").first() or by_own_id
    except ValidationError:
        found = by_own_id
    return found.person if found else None


def _set_manager_of_reports(row: DirectoryUser) -> None:
    """Those who came before her."""
    if row.person_id is None:
        return
    names = [str(row.id), *([row.external_id] if row.external_id else [])]
    reports = DirectoryUser.objects.filter(directory_id=row.directory_id, manager_ref__in=names, deleted_at=None)
    people = list(reports.exclude(person=None).exclude(id=row.id).values_list("person_id", flat=True))
    if people:
        User.objects.filter(id__in=people).exclude(manager_id=row.person_id).update(manager_id=row.person_id)


def _usable(address: str) -> str:
    """As people are found by it; nothing if it is none."""
    address = address.strip().lower()
    try:
        validate_email(address)
    except ValidationError:
        return ""
    return address if len(address) <= 254 else ""


def _differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """Top-level attributes that differ, before and after."""
    keys = (before.keys() | after.keys()) - {"meta", "schemas", "id"}
    return {key: [before.get(key), after.get(key)] for key in sorted(keys) if before.get(key) != after.get(key)}
