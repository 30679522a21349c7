"""Steps of migrations that cannot disturb the processes of the release before."""

from typing import Any

from django.db import migrations


class InWordsOnly(migrations.AlterField):
    """What forms say of the column; the column and its rows stay as they are."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        return

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        return


class AllowNone(migrations.AlterField):
    """The column may be empty from now on; older processes go on filling it."""


class RemoveNarrower(migrations.RemoveConstraint):
    """A wider one of the same name follows; what older processes write satisfies both."""
