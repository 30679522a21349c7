"""The first step of adding a connector: its address and its secret. Each step is saved as it is left."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from gateway.actions import act
from gateway.console.acting import person_named
from gateway.console.connecting.forms import AddressForm, addresses
from gateway.console.connecting.frame import ConnectorPage, progress_of, step_url, steps_of
from gateway.console.pages import GovernedPage
from governance.bundles import given
from governance.destinations import SENT_ELSEWHERE, may_send
from governance.facts import Fact, Recorder
from governance.models import Connector, Secret, User
from governance.vault import put_secret_value


class SentElsewhere(Exception):
    """The secret came into other hands between the check of the form and its saving; nothing was saved."""


@sensitive_variables()
def save_address(cleaned: dict[str, Any], connector: Connector | None, *, person: User) -> Connector:
    """The connector with its address and, if one was entered, its new secret: one transaction. Raises SentElsewhere."""
    by = person_named(person)

    @sensitive_variables()
    def work(record: Recorder, now: datetime) -> Connector:
        row = connector or Connector(name=cleaned["name"])
        row.urls = addresses(cleaned, connector)
        row.secret = cleaned.get("secret") if cleaned["use"] == "existing" else None
        if row.secret and not may_send(row.secret, row.urls, person=person):
            raise SentElsewhere
        if cleaned["use"] == "new":
            row.secret = _new_secret(cleaned)
            put_secret_value(row.secret, value=cleaned["value"], by=by, record=record, now=now)
        row.save()
        kind = "connector.changed" if connector else "connector.created"
        record(Fact(kind, f"connector:{row.name}", {"secret": row.secret.name if row.secret else ""}))
        return row

    return act(work, by=by)


def _new_secret(cleaned: dict[str, Any]) -> Secret:
    stem = f"{cleaned['name'][:50]}-secret"
    taken = set(Secret.objects.filter(name__startswith=stem).values_list("name", flat=True))
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))]
    name = next(each for each in names if each not in taken)
    return Secret.objects.create(name=name, kind=cleaned["kind"], header_name=cleaned["header_name"])


@method_decorator(sensitive_post_parameters("value"), name="dispatch")
class AddressPage(GovernedPage):
    """The form of the first step, for a connector that exists or not yet."""

    template_name = "console/connecting/address.html"

    @sensitive_variables()
    def save(self, form: AddressForm, connector: Connector | None) -> HttpResponse:
        if not form.is_valid():
            return self._refused(form)
        if form.cleaned_data["use"] == "new" and (again := self.refuse_unless("governance.add_secret")):
            return again
        try:
            saved = save_address(form.cleaned_data, connector, person=self.person)
        except SentElsewhere:
            form.add_error("secret", SENT_ELSEWHERE)
            return self._refused(form)
        return redirect(f"{step_url('test', saved)}?start")

    def _refused(self, form: AddressForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


class NewConnector(AddressPage):
    permission = "governance.add_connector"
    title = "Add a connector"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        context.setdefault("form", AddressForm(person=self.person))
        return {**context, "steps": steps_of(None, "address"), "unfinished": unfinished()}

    def post(self, request: HttpRequest) -> HttpResponse:
        return self.save(AddressForm(request.POST, person=self.person), None)


def unfinished() -> list[Connector]:
    """Those no bundle publishes: they give nothing to anybody."""
    rows = Connector.objects.exclude(given())
    return list(rows.annotate(tool_total=Count("tools")).order_by("name")[:20])


class Address(ConnectorPage, AddressPage):
    """The first step again, for an address or a secret that was wrong."""

    permission = "governance.change_connector"
    step = "address"
    title = "Connect"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """A local server has no address; its program stands in the form of all fields."""
        if self.connector.command:
            return redirect("admin:governance_connector_change", self.connector.pk)
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        context.setdefault("form", self._form())
        return context

    def _form(self, *data: Any) -> AddressForm:
        secret = self.connector.secret
        initial = {
            "url": next(iter(self.connector.urls), ""),
            "name": self.connector.name,
            "use": "existing" if secret else "none",
            "secret": secret,
        }
        return AddressForm(*data, initial=initial, person=self.person, connector=self.connector)

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        return self.save(self._form(request.POST), self.connector)


class Resume(ConnectorPage):
    """Where one left off."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect(step_url(progress_of(self.connector).next_step, self.connector))
