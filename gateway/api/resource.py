"""What all resources share: visible rows, pages, entity tags, and the one way in which anything is written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, TypeVar, cast

from django.db.models import Model, Q, QuerySet
from django.http import HttpResponse
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.fields import empty
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from gateway import actions
from gateway.api.bodies import refuse_unknown_length
from gateway.api.etags import check_if_match, etag_of, is_known
from gateway.api.fields import Empty, Parameters, Row, Strict
from gateway.api.idempotency import reserved
from gateway.api.permissions import ACTS, READS, may
from gateway.api.problems import FieldError, flattened, of_fields
from governance.facts import Fact, Recorder
from governance.models import User
from governance.personal_tokens import hold_live

Method = TypeVar("Method", bound=Callable[..., Any])
NO_ARGUMENTS = {"application/json": {"type": "object", "maxProperties": 0}}
FIXED = "It is given once: evidence names the row by it."


@dataclass(frozen=True, slots=True)
class Act:
    """What the verbs of governance want to know of one act."""

    person: User
    record: Recorder
    now: datetime

    @property
    def by(self) -> str:
        return f"person:{self.person.email}"


Work = Callable[[Act], Response]


def act(
    permission: str,
    *,
    takes: type[Strict] = Empty,
    gives: Any = None,
    status: int = 200,
    writes: bool = True,
) -> Callable[[Method], Method]:
    """A POST on a row, beyond the usual, that needs `permission`."""

    def decorate(method: Method) -> Method:
        method.permission = permission  # type: ignore[attr-defined]
        method.takes = takes  # type: ignore[attr-defined]
        method.status, method.writes = status, writes  # type: ignore[attr-defined]
        url_path = method.__name__.rstrip("_").replace("_", "-")
        route = action(detail=True, methods=["post"], url_path=url_path)(method)
        body = NO_ARGUMENTS if takes is Empty else takes
        answers = {status: gives} if gives else empty
        return cast(Method, extend_schema(request=body, responses=answers)(route))

    return decorate


class Endpoint(GenericViewSet):  # type: ignore[misc]
    """Anything of the API: one permission for each action, problem documents, and governed writes."""

    permissions: ClassVar[Mapping[str, str]] = {}
    parameters: ClassVar[type[Parameters] | None] = None
    decides_by_row: bool = False
    writes: ClassVar[bool] = True
    asked: Mapping[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        refuse_unknown_length(request)
        request._request.body  # noqa: B018  (read once, before any parser does: its digest is needed as well)
        super().initial(request, *args, **kwargs)
        if self.permission is None:
            raise MethodNotAllowed(request.method)
        request.data  # noqa: B018  (a body that cannot be read is refused before anything else is looked at)
        self.asked = self._asked(request)
        if getattr(getattr(self, self.action or "", None), "takes", None) is Empty:
            self.wish(Empty)

    @property
    def permission(self) -> str | None:
        """None for a method that does not exist here."""
        return self.permissions.get(self.action) or getattr(getattr(self, self.action or "", None), "permission", None)

    def _asked(self, request: Request) -> Mapping[str, Any]:
        query = request.query_params
        wanted = self.parameters if self.parameters and self.action == "list" else Empty
        repeated = [name for name, values in query.lists() if len(values) > 1]
        asked = wanted(data=query.dict())
        if repeated or not asked.is_valid():
            errors = [*flattened({name: ["Give it once."] for name in repeated} if repeated else asked.errors)]
            raise of_fields(errors, code="invalid_parameter")
        return cast(Mapping[str, Any], asked.validated_data)

    def wish(self, wanted: type[Strict]) -> dict[str, Any]:
        """The body, read as `wanted`."""
        serializer = wanted(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return cast(dict[str, Any], serializer.validated_data)

    def governed(self, work: Work, *, shown_once: tuple[str, ...] = ()) -> Response:
        """One transaction: the act, its evidence in the person's name, and its answer under the Idempotency-Key."""
        return self.governed_after(lambda: work, shown_once=shown_once)

    def governed_after(self, prepare: Callable[[], Work], *, shown_once: tuple[str, ...] = ()) -> Response:
        """As `governed`, once `prepare` has made the work: it may take its time, as no transaction is open yet."""
        person, token = self.request.user, self.request.auth

        with reserved(self.request) as reservation:
            if reservation.earlier is not None:
                return reservation.earlier
            work = prepare()

            def whole(record: Recorder, now: datetime) -> Response:
                if not hold_live(token, now=now):
                    raise AuthenticationFailed
                response = work(Act(person, self._naming_token(record), now))
                reservation.keep(response, shown_once=shown_once)
                return response

            return actions.act(whole, by=f"person:{person.email}")

    def note(self, fact: Fact) -> None:
        """Evidence of a look at something, where looking is an act."""
        actions.act(lambda record, _: self._naming_token(record)(fact), by=f"person:{self.request.user.email}")

    def _naming_token(self, record: Recorder) -> Recorder:
        def told(fact: Fact) -> None:
            record(replace(fact, details={**fact.details, "token": self.request.auth.hint}))

        return told

    def finalize_response(self, request: Request, response: HttpResponse, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


@dataclass(frozen=True, slots=True)
class Under:
    """Where a resource lies in paths such as `agents/{agent_id}/credentials`."""

    parameter: str
    column: str
    rows: QuerySet[Any]
    own: str | None = None


def named(model: type[Model], verb: str) -> str:
    """A permission as Django writes it."""
    return f"{model._meta.app_label}.{verb}_{model._meta.model_name}"


def visible(rows: QuerySet[Any], person: User, *, own: str | None) -> QuerySet[Any]:
    return rows if may(person, named(rows.model, "view")) else own_rows(rows, person, own)


def own_rows(rows: QuerySet[Any], person: User, own: str | None) -> QuerySet[Any]:
    return rows.filter(**{own: person.pk}) if own else rows.none()


class Resource(Endpoint):
    """Rows of one model. `order` is the key of its pages; `own` are the rows a person sees without any duty."""

    order: ClassVar[tuple[str, ...]] = ("name",)
    parameters = Parameters
    lookup_value_converter = "uuid"
    own_acts: ClassVar[frozenset[str]] = frozenset()
    own: ClassVar[str | None] = None
    """The look-up that leads from a row to the person whose it is."""
    under: ClassVar["Under | None"] = None

    @property
    def permission(self) -> str | None:
        usual = ACTS.get(self.action or "")
        return self._named(usual) if usual and self.action not in self.permissions else super().permission

    @property
    def decides_by_row(self) -> bool:  # type: ignore[override]
        return bool(self.detail) or (self.action in READS and self.own is not None)

    def is_own_affair(self, row: Model) -> bool:
        """Reading reaches visible rows only, so what it reached may be read."""
        if self.action in READS:
            return True
        this = self.queryset.filter(pk=row.pk)
        return self.action in self.own_acts and own_rows(this, self.request.user, self.own).exists()

    def get_queryset(self) -> QuerySet[Any]:
        rows = visible(self.queryset.all(), self.request.user, own=self.own)
        return rows if self.above is None else rows.filter(**{cast(Under, self.under).column: self.above})

    @cached_property
    def above(self) -> Any:
        """The row that the path leads through, if it does; one that she may not see is not there."""
        if self.under is None or self.under.parameter not in self.kwargs:
            return None
        rows = visible(self.under.rows.all(), self.request.user, own=self.under.own)
        return get_object_or_404(rows, pk=self.kwargs[self.under.parameter])

    def _named(self, verb: str) -> str:
        return named(self.queryset.model, verb)

    def locked(self, *, needs_match: bool = False) -> Any:
        """The row of the path, held until the transaction ends, in the state that the request says it saw."""
        self.queryset.model._default_manager.select_for_update().filter(pk=self.kwargs["pk"]).order_by("pk").first()
        row = get_object_or_404(self.get_queryset(), pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, row)
        check_if_match(self.request, self.shown(row), is_required=needs_match)
        return row

    def shown(self, row: Any) -> Any:
        return self.get_serializer(row).data

    def answered(self, row: Any, *, status: int = 200) -> Response:
        """The row as it is now."""
        shown = self.shown(self.queryset.get(pk=row.pk))
        return Response(shown, status=status, headers={"ETag": etag_of(shown)})

    def on_row(self, work: Callable[[Any, Act, dict[str, Any]], object]) -> Response:
        """An act on the row of the path; answers with what the row has become."""
        takes = getattr(self, self.action).takes

        def whole(act: Act) -> Response:
            row = self.locked()
            work(row, act, self.wish(takes))
            return self.answered(row)

        return self.governed(whole)


class Listed(Resource):
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        filters = {name: value for name, value in self.asked.items() if name not in ("limit", "cursor")}
        page = self.paginate_queryset(self.narrowed(self.get_queryset(), filters))
        return cast(Response, self.get_paginated_response(self.get_serializer(page, many=True).data))

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        return rows.filter(**filters)


class Retrieved(Resource):
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return read_answer(request, self.shown(self.get_object()))


def read_answer(request: Request, shown: Any) -> Response:
    headers = {"ETag": etag_of(shown)}
    if is_known(request, headers["ETag"]):
        return Response(status=304, headers=headers)
    return Response(shown, headers=headers)


class Created(Resource):
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        def work(act: Act) -> Response:
            serializer = self.get_serializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            response = self.answered(self.store(serializer, act), status=201)
            response["Location"] = f"{request.path}/{response.data['id']}"
            return response

        return self.governed(work)

    def store(self, serializer: Row, act: Act) -> Any:
        return serializer.save()


class Changed(Resource):
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        def work(act: Act) -> Response:
            row = self.locked(needs_match=True)
            serializer = self.get_serializer(row, data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            refuse_changes(serializer, self.fixed, FIXED)
            return self.answered(self.store(serializer, act))

        return self.governed(work)

    fixed: ClassVar[tuple[str, ...]] = ()
    """Given once: evidence names rows by them."""

    def store(self, serializer: Row, act: Act) -> Any:
        return serializer.save()


def changed_columns(serializer: Row) -> set[str]:
    """Those to which the request gives another value than the row has, or a new one would have."""
    row = serializer.instance
    many = {field.name for field in serializer.Meta.model._meta.many_to_many}
    bare = row or serializer.Meta.model()
    changed = set()
    for column, value in serializer.validated_data.items():
        if column in many:
            before = set(getattr(row, column).all()) if row else set()
            is_other = before != set(value)
        else:
            is_other = hasattr(bare, column) and getattr(bare, column) != value
        changed |= {column} if is_other else set()
    return changed


def refuse_changes(serializer: Row, columns: Iterable[str], message: str) -> None:
    """Raises Problem, in the words of the API, when the request changes one of these columns."""
    names = {field.source: name for name, field in serializer.fields.items()}
    wrong = sorted(changed_columns(serializer) & set(columns))
    if wrong:
        raise of_fields(FieldError(names[column], "forbidden", message) for column in wrong)


class Deleted(Resource):
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        def work(act: Act) -> Response:
            self.remove(self.locked(needs_match=True), act)
            return Response(status=204)

        return self.governed(work)

    def remove(self, row: Any, act: Act) -> None:
        row.delete()


def by_state(rows: QuerySet[Any], filters: dict[str, Any], *, now: datetime) -> QuerySet[Any]:
    """Of keys and tokens: `live`, `expired` or `revoked`, beside other filters."""
    state = filters.pop("state", None)
    is_expired = Q(expires_at__lte=now)
    states = {
        None: Q(),
        "live": ~is_expired & Q(revoked_at=None),
        "expired": is_expired & Q(revoked_at=None),
        "revoked": ~Q(revoked_at=None),
    }
    return rows.filter(states[state], **filters)
