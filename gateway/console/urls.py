"""The screens across rooms, under /admin/ beside the lists of Django's admin."""

from django.urls import include, path

from gateway.console.search import search

urlpatterns = [
    path("search/", search, name="search"),
    path("", include("gateway.console.home.urls")),
    path("", include("gateway.console.offboarding.urls")),
    path("", include("gateway.console.connecting.urls")),
    path("", include("gateway.console.access.urls")),
    path("", include("gateway.console.evidence.urls")),
    path("", include("gateway.console.breaking.urls")),
    path("", include("gateway.console.rotating.urls")),
    path("", include("gateway.console.keeping.urls")),
    path("", include("gateway.console.detecting.urls")),
    path("", include("gateway.console.planting.urls")),
    path("", include("gateway.console.findings.urls")),
    path("", include("gateway.console.publishing.urls")),
    path("", include("gateway.console.compliance.urls")),
    path("", include("gateway.console.attesting.urls")),
    path("directories/", include("gateway.console.directories.urls")),
]
