from django.urls import path

from gateway.oauth.endpoints import device_authorization, introspect, revoke, token

urlpatterns = [
    path("token", token, name="oauth_token"),
    path("revoke", revoke, name="oauth_revoke"),
    path("introspect", introspect, name="oauth_introspect"),
    path("device_authorization", device_authorization, name="oauth_device_authorization"),
]
