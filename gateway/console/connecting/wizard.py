"""Adding a connector, step by step. Each step is saved as it is left; a connector no bundle publishes gives nothing."""

from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from gateway import actions
from gateway.actions import act
from gateway.client_setup import clients, endpoint_of
from gateway.console.connecting.checks import TITLES, Check
from gateway.console.connecting.consumers import BUSY
from gateway.console.connecting.doors import behind
from gateway.console.connecting.examine import PERMISSION, AlreadyRunning, try_out
from gateway.console.connecting.forms import AddressForm, PublishForm, addresses
from gateway.console.connecting.frame import (
    ConnectorPage,
    GovernedPage,
    few,
    people_with,
    progress_of,
    step_url,
    steps_of,
)
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
from gateway.console.hostile_text import visible
from gateway.console.step_up import needs_fresh_login
from governance.agent_keys import NotIssuable
from governance.destinations import SENT_ELSEWHERE, may_send
from governance.facts import Fact, Recorder
from governance.models import Agent, Bundle, Connector, Secret, Tool, User
from governance.vault import put_secret_value

TOOLS_PER_PAGE = 100
MOST_TICKS = 800
"""Django takes at most 1,000 fields in one form."""


class SentElsewhere(Exception):
    """The secret came into other hands between the check of the form and its saving; nothing was saved."""


@sensitive_variables()
def save_address(cleaned: dict[str, Any], connector: Connector | None, *, person: User) -> Connector:
    """The connector with its address and, if one was entered, its new secret: one transaction. Raises SentElsewhere."""
    by = f"person:{person.email}"

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
    rows = Connector.objects.exclude(bundle_tools__version__state="published")
    return list(rows.annotate(tool_total=Count("tools")).order_by("name")[:20])


class Address(ConnectorPage, AddressPage):
    """The first step again, for an address or a secret that was wrong."""

    permission = "governance.change_connector"
    step = "address"
    title = "Connect"

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


class Test(ConnectorPage):
    permission = PERMISSION
    step = "test"
    title = "Connect"
    template_name = "console/connecting/test.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return {**context, **trial_context(self.connector), "starts": "start" in self.request.GET}


def trial_context(connector: Connector, checks: dict[str, Check] | None = None) -> dict[str, Any]:
    """The list of checks, all waiting before a trial."""
    done = checks or {}
    return {
        "checks": [done.get(key, Check(key, "waiting")) for key in TITLES],
        "is_seen": connector.last_seen_at is not None,
    }


@never_cache
@require_POST
@behind(PERMISSION)
async def try_now(request: HttpRequest, connector_id: UUID) -> HttpResponse:
    """The trial in one piece, for browsers without scripts or sockets."""
    connector = await Connector.objects.select_related("secret").filter(pk=connector_id).afirst()
    if connector is None:
        return HttpResponseRedirect(reverse("connectors"))
    checks: dict[str, Check] = {}

    async def note(check: Check) -> None:
        checks[check.key] = check

    user = request.user
    assert isinstance(user, User)
    try:
        await try_out(connector, note, by=f"person:{user.email}", person_id=user.pk)
    except AlreadyRunning:
        checks["address"] = Check("address", "warn", BUSY)
    return await sync_to_async(_tried)(request, connector_id, checks)


def _tried(request: HttpRequest, connector_id: UUID, checks: dict[str, Check]) -> HttpResponse:
    page = Test()
    page.setup(request, connector_id=connector_id)
    context = {**page.get_context_data(), **trial_context(page.connector, checks)}
    return render(request, page.template_name, context)


class Classify(ConnectorPage):
    step = "classify"
    title = "Connect"
    template_name = "console/connecting/classify.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        rows = offered(self.connector)
        page, pages = _page(self.request), max(1, -(-len(rows) // TOOLS_PER_PAGE))
        shown = rows[(page - 1) * TOOLS_PER_PAGE : page * TOOLS_PER_PAGE]
        return {
            **context,
            "tools": shown,
            "total": len(rows),
            "differing": sum(not row.is_as_suggested for row in rows),
            "flagged": sum(bool(row.remarks) for row in rows),
            "risks": Tool.Risk.choices,
            "page": page,
            "pages": range(1, pages + 1),
            "may_change": self.may("governance.change_tool"),
        }

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        if again := self.refuse_unless("governance.change_tool"):
            return again
        accepts = "accept" in request.POST
        rows = offered(self.connector)
        wanted = {row.row: _suggested(row) if accepts else _chosen(request, row) for row in rows}
        changed = classify(self.connector, wanted, by=self.by)
        if changed:
            messages.success(request, f"{changed} tools classified.")
        return redirect(step_url("classify" if accepts or "save" in request.POST else "publish", self.connector))


Class = tuple[str, bool]
"""Risk, and whether the tool only reads."""


def _page(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def _suggested(tool: Offered) -> Class:
    return tool.suggestion.risk, tool.suggestion.is_read_only


def _chosen(request: HttpRequest, tool: Offered) -> Class:
    """What the form says of a tool; tools of other pages stay as they are."""
    risk = request.POST.get(f"risk-{tool.row.pk}", "")
    if risk not in Tool.Risk.values:
        return tool.row.risk, tool.row.is_read_only
    return risk, request.POST.get(f"reads-{tool.row.pk}") == "on"


def classify(connector: Connector, wanted: dict[Tool, Class], *, by: str) -> int:
    """Sets risk and read-only where they differ; returns how many tools changed."""
    changes: dict[Class, list[Tool]] = {}
    for tool, classed in wanted.items():
        if (tool.risk, tool.is_read_only) != classed:
            changes.setdefault(classed, []).append(tool)
    changed = sum(map(len, changes.values()))

    def work(record: Recorder, now: datetime) -> None:
        for (risk, is_read_only), tools in changes.items():
            rows = Tool.objects.filter(pk__in=[tool.pk for tool in tools])
            rows.update(risk=risk, is_read_only=is_read_only)
        record(Fact("tools.classified", f"connector:{connector.name}", {"count": changed}))

    if changed:
        act(work, by=by)
    return changed


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
        form = self._form(self._rows(), request.POST)
        if not form.is_valid():
            return self._show(form, status=422)
        wish = _wish(form.cleaned_data)
        if "confirmed" not in request.POST:
            names = list(self.connector.tools.values_list("name", flat=True))
            found = effect(self.connector, wish, names=names)
            return self._show(form, effect=found, told=told(found), wish=wish)
        try:
            done = publish(self.connector, wish, person=self.person)
        except Overtaken as reason:
            messages.error(request, str(reason))
            return redirect(step_url("publish", self.connector))
        return self._published(done)

    def _show(self, form: PublishForm, *, status: int = 200, **context: Any) -> HttpResponse:
        bundle = self._bundle(form.data.get("bundle", ""))
        return self.render_to_response(self.get_context_data(form=form, bundle=bundle, **context), status=status)

    def _published(self, done: Published) -> HttpResponse:
        text = f"Published {done.bundle.name} v{done.version}; it took effect in epoch {done.epoch}."
        messages.success(self.request, text)
        agent = f"&agent={done.agent.pk}" if done.agent else ""
        return redirect(f"{step_url('done', self.connector)}?bundle={done.bundle.pk}{agent}")


def told(found: Effect) -> list[str]:
    """The effect in sentences. Tool names are the upstream's words."""
    holders = _counted(len(found.holders), "agent")
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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _tools(names: tuple[str, ...]) -> str:
    return f"{_counted(len(names), 'tool')}: {few([visible(name) for name in names])}"


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


class Done(ConnectorPage):
    """The endpoint, a key shown once, and what to paste where."""

    step = "done"
    title = "Connect"
    template_name = "console/connecting/done.html"
    issuing = "governance.issue_agentcredential"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        bundles = progress_of(self.connector).bundles
        bundle = next((each for each in bundles if str(each.pk) == self.request.GET.get("bundle")), None)
        bundle = bundle or next(iter(bundles), None)
        agents = _agents_with(bundle) if bundle else []
        agent = next((each for each in agents if str(each.pk) == self.request.GET.get("agent")), None)
        agent = agent or next(iter(agents), None)
        issued = context.get("issued")
        endpoint = endpoint_of(settings.PUBLIC_URL, bundle.name) if bundle else None
        return {
            **context,
            "bundle": bundle,
            "bundles": bundles,
            "agents": agents,
            "agent": agent,
            "endpoint": endpoint,
            "clients": clients(endpoint, key=issued.key if issued else "") if endpoint else (),
            "may_issue": self.may(self.issuing),
            "who_issues": people_with(User.Duty.IT_ADMIN),
        }

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        if again := self.refuse_unless(self.issuing):
            return again
        agent = self.get_context_data()["agent"]
        if agent is None:
            raise Http404
        try:
            issued = actions.issue_key(agent, by=self.by, expires_in=None)
        except NotIssuable as reason:
            messages.error(request, str(reason))
            return redirect(request.get_full_path())
        return self.render_to_response(self.get_context_data(issued=issued))


def _agents_with(bundle: Bundle) -> list[Agent]:
    rows = Agent.objects.filter(roles__bundles=bundle, status=Agent.Status.LIVE, owner__is_active=True)
    return list(rows.distinct().order_by("name")[:200])
