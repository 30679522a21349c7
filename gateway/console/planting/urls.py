from django.urls import URLPattern, path

from gateway.console.planting.pages import ShowCanary

urlpatterns: list[URLPattern] = [
    path("canaries/<uuid:canary_id>/value/", ShowCanary.as_view(), name="show_canary"),
]
