from django.urls import URLPattern, path

from gateway.console.rotating.pages import EmergencyRotation

urlpatterns: list[URLPattern] = [
    path("rotation/emergency/", EmergencyRotation.as_view(), name="emergency_rotation"),
]
