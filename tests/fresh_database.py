"""A database of the test's own, in which commits are real: triggers at commit and other connections see them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.migrated import copy_database, drop_database, migrated_folder


@pytest.fixture
def fresh_database(django_db_blocker: DjangoDbBlocker, tmp_path: Path) -> Iterator[None]:
    """A migrated one; all threads of this process use it until the test ends."""
    yield from own_database(django_db_blocker, tmp_path)


def own_database(django_db_blocker: DjangoDbBlocker, folder: Path) -> Iterator[None]:
    """For fixtures of another scope."""
    with django_db_blocker.unblock():
        before = connection.settings_dict["NAME"]
        connection.close()
        try:
            yield from _postgresql() if connection.vendor == "postgresql" else _sqlite(folder)
        finally:
            connection.settings_dict["NAME"] = before


def _postgresql() -> Iterator[None]:
    server = os.environ["TEST_DATABASE_URL"]
    url = copy_database(server, "fresh")
    connection.settings_dict["NAME"] = urlsplit(url).path[1:]
    try:
        yield
    finally:
        connection.close()
        drop_database(server, url)


def _sqlite(folder: Path) -> Iterator[None]:
    connection.settings_dict["NAME"] = str(folder / "fresh.sqlite3")
    shutil.copy(migrated_folder() / "gatehouse.sqlite3", folder / "fresh.sqlite3")
    try:
        yield
    finally:
        connection.close()


def server_parameters() -> dict[str, Any]:
    keys = ("HOST", "PORT", "USER", "PASSWORD")
    return {key.lower(): str(value) for key in keys if (value := connection.settings_dict[key])}
