from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from gateway.console.attesting.urls import reviewer_urls
from gateway.console.letting_in import Consent, Device
from gateway.console.me import Me, MyAgent, RevokeMyKeys, SuspendMyAgent
from gateway.console.me_access import EndMyGrant, MyAccess, RenewMyGrant, WithdrawMyRequest
from gateway.console.me_accounts import (
    AccountCallback,
    ConnectMyAccount,
    DisconnectMyAccount,
    MyAccount,
    MyAccounts,
    client_metadata,
)
from gateway.console.me_apps import EndMyApp, MyApps
from gateway.console.me_bridge import Bridge
from gateway.console.me_connect import ConnectClient
from gateway.console.me_keys import EndMyKey, ReplaceMyKey
from gateway.console.me_sessions import EndMySession, MySessions
from gateway.console.my_tokens import MyTokens, RevokeMyToken
from gateway.console.one_time_login import make_one_time_login, one_time_login
from gateway.notices.slack_intake import interactions
from gateway.oauth.endpoints import metadata
from gateway.oauth.registration import register, registered
from gateway.scim.door import scim
from gateway.security_events.intake import push, universal_logout

handler429 = "gateway.console.accounts.views.too_many_requests"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/people/<uuid:person_id>/one-time-login/", make_one_time_login, name="make_one_time_login"),
    path("admin/", include("gateway.console.urls")),
    path("admin/", admin.site.urls),
    path("approvals/", include("gateway.console.approvals.urls")),
    path("reviews/", include(reviewer_urls)),
    path("sessions/", include("gateway.console.evidence.run_urls")),
    path("account/", include("gateway.console.accounts.urls")),
    path("api/v1/", include("gateway.api.urls")),
    path("oauth/", include("gateway.oauth.urls")),
    path("oauth/authorize", Consent.as_view(), name="oauth_authorize"),
    path("oauth/device", Device.as_view(), name="oauth_device"),
    re_path(r"^\.well-known/oauth-authorization-server(?:/.*)?$", metadata, name="oauth_metadata"),
    path("scim/v2", scim, name="scim_root"),
    path("scim/v2/", scim, name="scim_base"),
    path("scim/v2/<path:path>", scim, name="scim"),
    path("slack/interactions/<slug:name>", interactions, name="slack_interactions"),
    path("oauth/global-token-revocation", universal_logout, name="universal_logout"),
    path("ssf/events", push, name="security_events"),
    path("oauth/register", register, name="oauth_register"),
    path("oauth/register/<str:client_id>", registered, name="oauth_registered"),
    path("login/<str:token>", one_time_login, name="one_time_login"),
    path("me/", Me.as_view(), name="me"),
    path("me/gatehouse-bridge.pyz", Bridge.as_view(), name="bridge"),
    path("me/connect/", ConnectClient.as_view(), name="connect_client"),
    path("me/apps/", MyApps.as_view(), name="my_apps"),
    path("me/apps/<uuid:authorization_id>/end/", EndMyApp.as_view(), name="end_my_app"),
    path("me/sessions/", MySessions.as_view(), name="my_sessions"),
    path("me/sessions/<slug:session>/end/", EndMySession.as_view(), name="end_my_session"),
    path("me/tokens/", MyTokens.as_view(), name="personal_tokens"),
    path("me/tokens/<uuid:token_id>/revoke/", RevokeMyToken.as_view(), name="revoke_personal_token"),
    path("me/access/", MyAccess.as_view(), name="my_access"),
    path("me/access/grants/<uuid:grant_id>/end/", EndMyGrant.as_view(), name="end_my_grant"),
    path("me/access/grants/<uuid:grant_id>/renew/", RenewMyGrant.as_view(), name="renew_my_grant"),
    path("me/access/requests/<uuid:key>/withdraw/", WithdrawMyRequest.as_view(), name="withdraw_my_request"),
    path("me/accounts/", MyAccounts.as_view(), name="my_accounts"),
    path("me/accounts/<uuid:connector_id>/", MyAccount.as_view(), name="my_account"),
    path("me/accounts/<uuid:connector_id>/connect/", ConnectMyAccount.as_view(), name="connect_my_account"),
    path("me/accounts/<uuid:connector_id>/disconnect/", DisconnectMyAccount.as_view(), name="disconnect_my_account"),
    path("oauth/callback/<slug:place>/", AccountCallback.as_view(), name="account_callback"),
    path(".well-known/gateway-client.json", client_metadata, name="client_metadata"),
    path("me/agents/<uuid:agent_id>/", MyAgent.as_view(), name="my_agent"),
    path("me/agents/<uuid:agent_id>/suspend/", SuspendMyAgent.as_view(), name="suspend_my_agent"),
    path("me/agents/<uuid:agent_id>/end-keys/", RevokeMyKeys.as_view(), name="revoke_my_keys"),
    path("me/agents/<uuid:agent_id>/keys/<uuid:key_id>/end/", EndMyKey.as_view(), name="end_my_key"),
    path("me/agents/<uuid:agent_id>/keys/<uuid:key_id>/replace/", ReplaceMyKey.as_view(), name="replace_my_key"),
]
