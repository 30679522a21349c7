"""The mail by which a person who forgot her password chooses a new one."""

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from governance.models import User


def mail_password_reset(person_id: str) -> bool:
    """False if there is nobody to write to any more."""
    user = User.objects.filter(pk=person_id, is_active=True).first()
    if user is None:
        return False
    text = render_to_string("mail/password_reset.txt", {"user": user, "url": reset_url(user)})
    send_mail("Choose a new Gatehouse password", text, settings.DEFAULT_FROM_EMAIL, [user.email])
    return True


def reset_url(user: User) -> str:
    """Works once and for an hour; it leads to a page where a new password is set, and signs nobody in."""
    key = default_token_generator.make_token(user)
    path = reverse("account_reset_password_from_key", kwargs={"uidb36": user.pk.hex, "key": key})
    return f"{settings.PUBLIC_URL}{path}"
