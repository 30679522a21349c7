"""A person connects a client: it is told the address alone, she signs in, and it becomes an agent of hers."""

from functools import cached_property
from typing import Any

from django.conf import settings

from gateway.bridge_client import is_admitted
from gateway.bridge_file import bridge_digest
from gateway.client_setup import Endpoint, endpoint_of
from gateway.client_sign_in import bridge_that_signs_in, clients_that_sign_in
from gateway.console.me import OwnPage
from gateway.console.signing_in import people_can_sign_in
from gateway.reach.current import current_snapshot


class ConnectClient(OwnPage):
    template_name = "console/me_connect.html"

    @cached_property
    def endpoints(self) -> list[Endpoint]:
        """Of what she holds now; all of it together comes first."""
        bundles = current_snapshot().person_bundles(self.person.pk.hex, self.now)
        return [endpoint_of(settings.PUBLIC_URL, name) for name in ("", *(bundle.name for bundle in bundles))]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        chosen = self.request.GET.get("endpoint")
        endpoint = next((each for each in self.endpoints if each.name == chosen), self.endpoints[0])
        return {
            **super().get_context_data(**kwargs),
            "can_sign_in": people_can_sign_in(),
            "endpoints": self.endpoints,
            "endpoint": endpoint,
            "clients": [*clients_that_sign_in(endpoint), *([bridge_that_signs_in(endpoint)] if is_admitted() else [])],
            "bridge_digest": bridge_digest(),
            "agents": self.person.agents.exclude(status="retired").order_by("name")[:20],
        }
