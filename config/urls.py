from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from gateway.console.one_time_login import make_one_time_login, me, one_time_login
from gateway.oauth.resource import protected_resource

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/people/<uuid:person_id>/one-time-login/", make_one_time_login, name="make_one_time_login"),
    path("admin/", include("gateway.console.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("gateway.api.urls")),
    path("login/<str:token>", one_time_login, name="one_time_login"),
    path("me/", me, name="me"),
    path(".well-known/oauth-protected-resource", protected_resource),
    path(".well-known/oauth-protected-resource/mcp", protected_resource),
    path(".well-known/oauth-protected-resource/mcp/<slug:bundle>", protected_resource),
]
