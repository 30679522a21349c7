"""The fourth step: which tools go into which bundle, for whom. What it changes is shown before it is done."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway.console.connecting.forms import PublishForm
from gateway.console.connecting.frame import ConnectorPage, people_with, progress_of, step_url
from gateway.console.connecting.offer import Offered, offered
from gateway.console.connecting.publishing import (
    Effect,
    Overtaken,
    Published,
    Wish,
    effect,
    given,
    publish,
    published_version,
)
from gateway.console.step_up import needs_fresh_login
from gateway.console.wording import counted, few
from gateway.hostile_text import visible
from governance.models import Bundle, User

MOST_TICKS = 800
"""Django takes at most 1,000 fields in one form."""


class Publish(ConnectorPage):
    step = "publish"
    title = "Connect"
    template_name = "console/connecting/publish.html"
    publishing = "governance.publish_bundle"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Who has to sign in again does so before she ticks, not after."""
        again = needs_fresh_login(request, self.publishing) if self.may(self.publishing) else None
        return again or super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        context.setdefault("bundle", self._wanted_bundle())
        rows = self._rows()
        held = given(published_version(context["bundle"]), self.connector, [row.row.name for row in rows])
        context.setdefault("form", self._form(rows, initial=self._initial(context["bundle"])))
        ticked = context["form"].data.getlist("tools") if context["form"].is_bound else held or self._default(rows)
        return {
            **context,
            "tools": [(row, row.row.name in ticked) for row in rows],
            "bundles": Bundle.objects.order_by("name"),
            "may_publish": self.may(self.publishing),
            "may_give": self.may("governance.change_role"),
            "who_publishes": people_with(User.Duty.SECURITY),
            "link": f"{settings.PUBLIC_URL}{step_url('publish', self.connector)}",
            "most": MOST_TICKS if self.connector.tools.count() > MOST_TICKS else 0,
            "is_published": progress_of(self.connector).bundles,
        }

    def _rows(self) -> list[Offered]:
        rows = offered(self.connector)
        return sorted(rows, key=lambda row: (not row.is_ticked_by_default, row.row.name))[:MOST_TICKS]

    def _default(self, rows: list[Offered]) -> list[str]:
        return [row.row.name for row in rows if row.is_ticked_by_default]

    def _wanted_bundle(self) -> Bundle | None:
        """The one asked for; unasked, the one that publishes these tools already."""
        if "bundle" in self.request.GET:
            return self._bundle(self.request.GET["bundle"])
        return next(iter(progress_of(self.connector).bundles), None)

    def _bundle(self, pk: str) -> Bundle | None:
        try:
            return Bundle.objects.filter(pk=UUID(pk)).first()
        except ValueError:
            return None

    def _initial(self, bundle: Bundle | None) -> dict[str, Any]:
        version = published_version(bundle)
        seen = version.number if version else 0
        name = "" if bundle else _free_bundle_name(self.connector.name)
        return {"bundle": bundle, "bundle_name": name, "receiver": "nobody", "seen": seen}

    def _form(self, rows: list[Offered], *args: Any, **options: Any) -> PublishForm:
        return PublishForm(
            *args,
            tools=[row.row.name for row in rows],
            may_give=self.may("governance.change_role"),
            may_add_agent=self.may("governance.add_agent"),
            **options,
        )

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        if again := self.refuse_unless(self.publishing):
            return again
        form = self._typed()
        if "confirmed" not in request.POST or not form.is_valid():
            return self._foretold(form)
        try:
            done = publish(self.connector, _wish(form.cleaned_data), person=self.person)
        except Overtaken as reason:
            messages.error(request, str(reason))
            return redirect(step_url("publish", self.connector))
        return self._published(done)

    def as_typed(self) -> HttpResponse:
        return self._foretold(self._typed())

    def _typed(self) -> PublishForm:
        return self._form(self._rows(), self.request.POST)

    def _foretold(self, form: PublishForm) -> HttpResponse:
        """The form, and above it what it would do if it were confirmed."""
        if not form.is_valid():
            return self._show(form, status=422)
        wish = _wish(form.cleaned_data)
        names = list(self.connector.tools.values_list("name", flat=True))
        found = effect(self.connector, wish, names=names)
        return self._show(form, effect=found, told=told(found), wish=wish)

    def _show(self, form: PublishForm, *, status: int = 200, **context: Any) -> HttpResponse:
        bundle = self._bundle(form.data.get("bundle", ""))
        return self.render_to_response(self.get_context_data(form=form, bundle=bundle, **context), status=status)

    def _published(self, done: Published) -> HttpResponse:
        name = f"{done.bundle.name} v{done.version.number}"
        if done.waits:
            messages.success(self.request, f"{name} waits for somebody else to review it; nobody gets it before.")
            return redirect("bundle_version_review", done.version.pk)
        messages.success(self.request, f"Published {name}; it took effect in epoch {done.epoch}.")
        agent = f"&agent={done.agent.pk}" if done.agent else ""
        return redirect(f"{step_url('done', self.connector)}?bundle={done.bundle.pk}{agent}")


def told(found: Effect) -> list[str]:
    """The effect in sentences. Tool names are the upstream's words."""
    holders = counted(len(found.holders), "agent")
    one = len(found.holders) == 1
    lines = []
    if found.holders and found.gained:
        lines.append(f"{holders} gain{'s' if one else ''} {_tools(found.gained)}.")
    if found.holders and found.lost:
        lines.append(f"{holders} lose{'s' if one else ''} {_tools(found.lost)}.")
    if found.holders:
        nothing = "" if found.gained or found.lost else "Nothing changes for those who hold the bundle. "
        lines.append(f"{nothing}It is held by: {few(found.holders)}.")
    elif not found.receiver:
        lines.append("Nobody holds this bundle yet, so nobody gains anything before somebody gets it.")
    return lines


def _tools(names: tuple[str, ...]) -> str:
    return f"{counted(len(names), 'tool')}: {few([visible(name) for name in names])}"


def _free_bundle_name(name: str) -> str:
    taken = set(Bundle.objects.filter(name__startswith=name[:58]).values_list("name", flat=True))
    names = [name, *(f"{name[:58]}-{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in names if each not in taken)


def _wish(cleaned: dict[str, Any]) -> Wish:
    receiver = cleaned["receiver"]
    return Wish(
        tools=tuple(cleaned["tools"]),
        bundle=cleaned["bundle"],
        bundle_name=cleaned["bundle_name"],
        agent=cleaned["agent"] if receiver == "existing" else None,
        agent_name=cleaned["agent_name"] if receiver == "new" else "",
        seen=cleaned["seen"] or 0,
    )
