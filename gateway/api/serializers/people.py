"""People, their teams and their tokens over the wire."""

from rest_framework import serializers

from gateway.api.fields import (
    Choice,
    Flag,
    Reference,
    References,
    Row,
    Strict,
    Written,
)
from gateway.api.serializers.named import Email, Name, NamedRow, is_taken
from governance.manifest.entries import ATTRIBUTES
from governance.models import (
    PersonalToken,
    Policy,
    Team,
    User,
)


class PersonRow(Row):
    email = Email(help_text="Changed later on the person's page only, by an owner.")
    active = Flag(source="is_active", required=False, help_text="Off means nothing of hers works, on every path.")
    staff = Flag(source="is_staff", required=False, help_text="May enter the admin. Set on the person's page only.")
    owner = Flag(source="is_superuser", required=False, help_text="May do everything. Set on the person's page only.")
    duties = serializers.ListField(
        child=Choice(choices=User.Duty.choices),
        required=False,
        max_length=len(User.Duty),
        help_text="Set on the person's page only, by an owner.",
    )
    manager = Reference(User, by="email", required=False, allow_null=True)
    same_as = Reference(
        User, by="email", read_only=True, allow_null=True, help_text="Her main account. Set on the person's page only."
    )
    teams = References(Team, required=False)

    class Meta:
        model = User
        fields = (
            "id", "email", "name", "active", "staff", "owner", "duties", "manager", "same_as", "teams", "created_at",
            "last_login",
        )  # fmt: skip
        read_only_fields = ("id", "created_at", "last_login")

    def validate_email(self, email: str) -> str:
        if is_taken(User, email, besides=self.instance, column="email"):
            raise serializers.ValidationError(f"There is a person with the address {email}.", "unique")
        return email

    def validate_manager(self, manager: User | None) -> User | None:
        if manager is not None and self.instance is not None and manager.pk == self.instance.pk:
            raise serializers.ValidationError("Nobody is her own manager.", "rule")
        return manager

    def validate_duties(self, duties: list[str]) -> list[str]:
        return sorted(set(duties))


class TeamRow(NamedRow):
    name = Name()
    parent = Reference(Team, required=False, allow_null=True)
    policies = References(Policy, required=False)
    attributes = Written(
        ATTRIBUTES, required=False, help_text="Lists that conditions read as person.attributes, by name."
    )

    class Meta:
        model = Team
        fields = ("id", "name", "title", "parent", "policies", "attributes")
        read_only_fields = ("id",)

    def validate_parent(self, parent: Team | None) -> Team | None:
        above = parent
        while above is not None and self.instance is not None:
            if above.pk == self.instance.pk:
                raise serializers.ValidationError("A team cannot stand below itself.", "rule")
            above = above.parent
        return parent


class TokenRow(Row):
    person = Reference(User, by="email", read_only=True)

    class Meta:
        model = PersonalToken
        fields = (
            "id", "person", "name", "hint", "scopes", "created_at", "created_by", "expires_at", "last_used_at",
            "revoked_at", "revoked_by",
        )  # fmt: skip
        read_only_fields = fields


class OneTimeLogin(Strict):
    person = Email()
    url = serializers.URLField(allow_null=True, help_text="Shown only now, and good for one sign-in within 24 hours.")
