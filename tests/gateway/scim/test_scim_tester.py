"""The protocol's own test suite (scim2-tester) against the real addresses: not one error, tolerant as we are, and strict."""

from collections.abc import Iterator

import pytest
from scim2_client.engines.werkzeug import TestSCIMClient
from scim2_models import ScimPolicy
from scim2_tester import check_server
from scim2_tester.utils import Status

from gateway.scim import service as serving
from tests.gateway.scim.messages import Provider
