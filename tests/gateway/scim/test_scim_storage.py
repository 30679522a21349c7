"""Our storage keeps the contract of the library that serves the protocol."""

import warnings
from datetime import UTC, datetime

import pytest
from scim2_server.testing import ScimStorageContract

from gateway.scim.storage import DirectoryStorage
from governance.directory_sync import Sync
from governance.models import Directory

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class TestDirectoryStorage(ScimStorageContract):
    @pytest.fixture
    def storage(self, provider):  # type: ignore[no-untyped-def]
        directory = Directory.objects.create(name="okta")
        sync = Sync(
            directory=directory,
            by="scim:okta",
            record=[].append,
            now=datetime.now(UTC),
            end=lambda person, plan: None,
            alert=lambda directory, people: None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield DirectoryStorage(provider, sync)
