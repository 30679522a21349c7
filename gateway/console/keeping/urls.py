from django.urls import URLPattern, path

from gateway.console.keeping.pages import ErasePerson, LiftHold

urlpatterns: list[URLPattern] = [
    path("erase/<uuid:person_id>/", ErasePerson.as_view(), name="erase_person"),
    path("legal-holds/<uuid:hold_id>/lift/", LiftHold.as_view(), name="lift_hold"),
]
