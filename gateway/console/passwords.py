"""Choosing a password: hashed before the transaction, because hashing is slow on purpose."""

from typing import Any

from django.contrib.auth.forms import SetPasswordForm
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.widgets import UnfoldAdminPasswordWidget

from governance.fence.actor import governed_change
from governance.models import User


class _GovernedSave:
    user: User
    cleaned_data: dict[str, Any]

    def save(self, commit: bool = True) -> User:
        self.user.set_password(self.cleaned_data["new_password1"])
        with governed_change(by=f"person:{self.user.email}"):
            self.user.save(update_fields=["password"])
        return self.user


class ChangePassword(_GovernedSave, AdminOwnPasswordChangeForm):  # type: ignore[misc]
    """For those who have a password."""


class FirstPassword(_GovernedSave, SetPasswordForm):  # type: ignore[type-arg]
    """For those who came by one-time link and have none to give."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})


def form_for(user: Any) -> type[ChangePassword] | type[FirstPassword]:
    return ChangePassword if user.has_usable_password() else FirstPassword
