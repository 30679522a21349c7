"""Everything django-allauth may serve, named one by one: no sign-up, no e-mail addresses to manage."""

from allauth.account import views as account
from allauth.mfa.base import views as second_factor
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from django.urls import path

from gateway.console.accounts.second_factor import passkeys_work
from gateway.console.accounts.sessions import SessionList, end_session
from gateway.console.accounts.views import first_password, forgot_password, link_too_old
from gateway.console.single_sign_on import saml_views as saml
from gateway.console.single_sign_on.journeys import AGAIN, CONNECT, RECHECK
from gateway.console.single_sign_on.views import Callback, SignOut, Start, begin_connecting, my_accounts
from gateway.console.single_sign_on.ways import only_way, ways

PASSKEYS = {"passkeys_work": passkeys_work}
WAYS_IN = PASSKEYS | {
    "ways": ways,
    "only_single_sign_on": only_way,
}

urlpatterns = [
    path("login/", account.LoginView.as_view(extra_context=WAYS_IN), name="account_login"),
    path("logout/", SignOut.as_view(), name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("again/", account.reauthenticate, name="account_reauthenticate"),
    path("again/by-code/", second_factor.reauthenticate, name="mfa_reauthenticate"),
    path("again/by-passkey/", passkeys.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("again/by-single-sign-on/", Start.as_view(purpose=AGAIN), name="single_sign_on_again"),
    path("again/by-saml/", saml.Start.as_view(purpose=AGAIN), name="saml_again"),
    path("again/link-too-old/", link_too_old, name="account_link_too_old"),
    path("password/", account.password_change, name="account_change_password"),
    path("password/first/", first_password, name="account_set_password"),
    path("password/forgotten/", forgot_password, name="account_reset_password"),
    path("password/forgotten/sent/", account.password_reset_done, name="account_reset_password_done"),
    path(
        "password/forgotten/<str:uidb36>/<str:key>/",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/forgotten/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("second-factor/", second_factor.IndexView.as_view(extra_context=PASSKEYS), name="mfa_index"),
    path("second-factor/check/", second_factor.authenticate, name="mfa_authenticate"),
    path("second-factor/app/add/", totp.activate_totp, name="mfa_activate_totp"),
    path("second-factor/app/remove/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("second-factor/codes/", recovery_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("second-factor/codes/new/", recovery_codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("second-factor/passkeys/", passkeys.list_webauthn, name="mfa_list_webauthn"),
    path("second-factor/passkeys/add/", passkeys.add_webauthn, name="mfa_add_webauthn"),
    path("second-factor/passkeys/<int:pk>/rename/", passkeys.edit_webauthn, name="mfa_edit_webauthn"),
    path("second-factor/passkeys/<int:pk>/remove/", passkeys.remove_webauthn, name="mfa_remove_webauthn"),
    path("passkey/", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path("single-sign-on/", my_accounts, name="single_sign_on"),
    path("single-sign-on/start/", Start.as_view(), name="single_sign_on_start"),
    path("single-sign-on/recheck/", Start.as_view(purpose=RECHECK), name="single_sign_on_recheck"),
    path("single-sign-on/connect/<slug:protocol>/", begin_connecting, name="single_sign_on_connect"),
    path("single-sign-on/connect/oidc/go/", Start.as_view(purpose=CONNECT), name="single_sign_on_connect_go"),
    path("single-sign-on/saml/start/", saml.Start.as_view(), name="saml_start"),
    path("single-sign-on/saml/recheck/", saml.Start.as_view(purpose=RECHECK), name="saml_recheck"),
    path("single-sign-on/connect/saml/go/", saml.Start.as_view(purpose=CONNECT), name="saml_connect_go"),
    path("single-sign-on/saml/callback/", saml.callback, name="saml_callback"),
    path("single-sign-on/saml/finish/", saml.finish, name="saml_finish"),
    path("single-sign-on/saml/metadata/", saml.metadata, name="saml_metadata"),
    path("single-sign-on/callback/", Callback.as_view(), name="single_sign_on_callback"),
    path("sessions/", SessionList.as_view(), name="usersessions_list"),
    path("sessions/<int:session_id>/end/", end_session, name="end_session"),
]
