"""Migrations run while the parts of the release before still serve: they add, and they can be taken back."""

from collections.abc import Iterator

import pytest
from django.db import migrations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField, CreateModel
from django.db.migrations.operations.base import Operation

OURS = ("governance", "audit", "gateway")
FIRST_RELEASE = {"governance": 2, "audit": 2, "gateway": 2}
"""What was created before anybody served."""
HARMLESS = (
    *("CreateModel", "AddIndex", "AddConstraint", "AlterModelOptions", "RunPython", "RunSQL"),
    *("AddIndexWhileServing", "RemoveIndexWhileServing", "AlterOwnDefault", "SeparateDatabaseAndState"),
    *("InWordsOnly", "AllowNone", "RemoveNarrower"),
)
"""An index that goes is missed by no older process; a default of Django's own is not in the database. What is separate
for the database is looked at by itself."""

LOADER = MigrationLoader(None)
OWN = {key: migration for key, migration in LOADER.disk_migrations.items() if key[0] in OURS}
LATER = {key: migration for key, migration in OWN.items() if int(key[1][:4]) > FIRST_RELEASE[key[0]]}


def operations(migration: migrations.Migration) -> Iterator[Operation]:
    for operation in migration.operations:
        yield operation
        yield from getattr(operation, "database_operations", ())


@pytest.mark.parametrize("key", sorted(OWN), ids="-".join)
def test_every_migration_can_be_taken_back(key: tuple[str, str]) -> None:
    assert all(operation.reversible for operation in operations(OWN[key]))


@pytest.mark.parametrize("key", sorted(LATER), ids="-".join)
def test_later_migrations_only_add(key: tuple[str, str]) -> None:
    """A new column needs a default in the database, because older processes go on inserting without it."""
    created = {operation.name_lower for operation in LATER[key].operations if isinstance(operation, CreateModel)}
    for operation in operations(LATER[key]):
        name = type(operation).__name__
        if isinstance(operation, AddField):
            field = operation.field
            is_harmless = field.many_to_many or field.null or field.has_db_default()
            assert is_harmless or operation.model_name_lower in created, f"{key}: {operation.describe()}"
        else:
            assert name in HARMLESS, f"{key}: {operation.describe()}"
