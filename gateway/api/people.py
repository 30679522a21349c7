"""People, teams, their tokens and their ways in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, QueryFlag, Row, Text
from gateway.api.problems import Problem
from gateway.api.resource import (
    Act,
    Changed,
    Created,
    Deleted,
    Listed,
    Retrieved,
    act,
    by_state,
    refuse_changes,
)
from gateway.api.serializers.people import OneTimeLogin, PersonRow, TeamRow, TokenRow
from gateway.one_time_links import one_time_login_url
from governance.duties import may_do_anything
from governance.facts import Fact
from governance.models import PersonalToken, Team, User
from governance.people import (
    check_last_owner,
    check_teams,
    may_change_person,
    may_delete_team,
    raising_rights,
    team_fields_locked_for,
)
from governance.personal_tokens import revoke_token
from governance.second_person import check_team_policies, may_let_team_go

OWNERS_SCREEN = "Only an owner may change this, on the person's page: a token that leaked must not make owners."
NO_WAY_UP = "A token makes links for people without duties only, or it would become all that they may."


class PeopleParameters(Parameters):
    email = Text(required=False, max_length=254)
    active = QueryFlag(source="is_active", required=False)
    team = Text(source="teams__name", required=False, max_length=63)


class People(Listed, Retrieved, Created, Changed):
    """People are not deleted: evidence names them. They are deactivated, or offboarded."""

    queryset = User.objects.select_related("manager").prefetch_related("teams")
    serializer_class = PersonRow
    parameters = PeopleParameters
    order = ("email",)
    own = "pk"

    def store(self, serializer: Row, act: Act) -> Any:
        person, wanted = serializer.instance, serializer.validated_data
        if person is not None and not may_change_person(act.person, person):
            raise Problem("permission_denied", "Only an owner may change an owner.")
        refuse_changes(serializer, raising_rights(is_new=person is None), OWNERS_SCREEN)
        if person is None:
            return serializer.save(password=make_password(None))
        check_teams(person, wanted.get("teams", person.teams.all()), acting=act.person)
        is_owner, is_active = (wanted.get(name, getattr(person, name)) for name in ("is_superuser", "is_active"))
        check_last_owner(person, stays_owner=is_owner and is_active)
        return serializer.save()

    @act("governance.invite_user", gives=OneTimeLogin, status=201)
    def one_time_login(self, request: Request, pk: Any) -> Response:
        """A link that signs her in once, shown only now. For people without duties: the others' are made on a page."""

        def work(act: Act) -> Response:
            person = self.locked()
            if not person.is_active:
                raise Problem("conflict", f"{person.email} is not active.")
            if may_do_anything(person):
                raise Problem("permission_denied", NO_WAY_UP)
            act.record(Fact("person.one_time_login_made", f"person:{person.email}"))
            return Response({"person": person.email, "url": one_time_login_url(person)}, status=201)

        return self.governed(work, shown_once=("url",))


class TeamParameters(Parameters):
    name = Text(required=False, max_length=63)
    parent = Text(source="parent__name", required=False, max_length=63)


class Teams(Listed, Retrieved, Created, Changed, Deleted):
    """Who is in a team is IT's, which rules bind it is security's."""

    queryset = Team.objects.select_related("parent").prefetch_related("policies")
    serializer_class = TeamRow
    parameters = TeamParameters
    fixed = ("name",)

    def store(self, serializer: Row, act: Act) -> Any:
        locked = team_fields_locked_for(act.person, is_new=serializer.instance is None)
        refuse_changes(serializer, locked, "Your duties do not include this part of a team.")
        if serializer.instance is not None:
            _check_policies(serializer.instance, serializer.validated_data, act)
        return serializer.save()

    def remove(self, row: Team, act: Act) -> None:
        if not may_delete_team(act.person, row):
            raise Problem("permission_denied", "Only security or an owner may remove a team with rules.")
        if not may_let_team_go(row, acting=act.person):
            raise Problem("permission_denied", "Changes of rules need a second person: only an owner may remove it.")
        row.delete()


def _check_policies(team: Team, wanted: Mapping[str, Any], act: Act) -> None:
    """Raises RuleBroken."""
    policies, parent = wanted.get("policies", team.policies.all()), wanted.get("parent", team.parent)
    check_team_policies(team, policies, parent, acting=act.person)


class TokenParameters(Parameters):
    person = Text(source="person__email", required=False, max_length=254)
    state = Choice(choices=("live", "expired", "revoked"), required=False)


class Tokens(Listed, Retrieved):
    """Your own, and with the duty for it everybody's. They are made on the page /me/tokens/ only: a token that leaked
    must not beget others."""

    queryset = PersonalToken.objects.select_related("person")
    serializer_class = TokenRow
    parameters = TokenParameters
    order = ("-created_at", "id")
    own = "person"
    own_acts = frozenset({"revoke"})

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        return by_state(rows, dict(filters), now=datetime.now(UTC))

    @act("governance.change_personaltoken")
    def revoke(self, request: Request, pk: Any) -> Response:
        """Ends it for good; also the token that asks."""
        return self.on_row(lambda row, act, _: revoke_token(row, by=act.by, record=act.record, now=act.now))
