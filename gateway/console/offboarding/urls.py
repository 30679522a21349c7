from django.urls import path

from gateway.console.offboarding.after_pages import UndoPage, settle_step, signature
from gateway.console.offboarding.pages import (
    CheckAgain,
    OffboardingPage,
    Offboardings,
    PersonPage,
    cancel,
    receipt_json,
    receipt_pdf,
)
from gateway.console.offboarding.zombie_pages import Zombies, end_zombies

urlpatterns = [
    path("offboard/", Offboardings.as_view(), name="offboardings"),
    path("offboard/zombies/", Zombies.as_view(), name="zombies"),
    path("offboard/zombies/<slug:sort>/end/", end_zombies, name="end_zombies"),
    path("offboard/person/<uuid:person_id>/", PersonPage.as_view(), name="offboard_person"),
    path("offboard/<uuid:offboarding_id>/", OffboardingPage.as_view(), name="offboarding"),
    path("offboard/<uuid:offboarding_id>/cancel/", cancel, name="cancel_offboarding"),
    path("offboard/<uuid:offboarding_id>/check/", CheckAgain.as_view(), name="check_offboarding"),
    path("offboard/<uuid:offboarding_id>/receipt.json", receipt_json, name="offboarding_json"),
    path("offboard/<uuid:offboarding_id>/undo/", UndoPage.as_view(), name="undo_offboarding"),
    path("offboard/<uuid:offboarding_id>/steps/<uuid:step_id>/", settle_step, name="settle_step"),
    path("offboard/<uuid:offboarding_id>/receipt.json.sig", signature, name="offboarding_signature"),
    path("offboard/<uuid:offboarding_id>/receipt.pdf", receipt_pdf, name="offboarding_pdf"),
]
