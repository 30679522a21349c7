from django.urls import path

from gateway.console.offboarding.pages import (
    CheckAgain,
    OffboardingPage,
    Offboardings,
    PersonPage,
    cancel,
    receipt_json,
    receipt_pdf,
)

urlpatterns = [
    path("offboard/", Offboardings.as_view(), name="offboardings"),
    path("offboard/person/<uuid:person_id>/", PersonPage.as_view(), name="offboard_person"),
    path("offboard/<uuid:offboarding_id>/", OffboardingPage.as_view(), name="offboarding"),
    path("offboard/<uuid:offboarding_id>/cancel/", cancel, name="cancel_offboarding"),
    path("offboard/<uuid:offboarding_id>/check/", CheckAgain.as_view(), name="check_offboarding"),
    path("offboard/<uuid:offboarding_id>/receipt.json", receipt_json, name="offboarding_json"),
    path("offboard/<uuid:offboarding_id>/receipt.pdf", receipt_pdf, name="offboarding_pdf"),
]
