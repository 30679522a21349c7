from django.urls import path

from gateway.console.evidence.call_page import CallPage, CallProof, OpenPayloads

urlpatterns = [
    path("calls/<uuid:call_id>/", CallPage.as_view(), name="call_page"),
    path("calls/<uuid:call_id>/payloads/", OpenPayloads.as_view(), name="open_payloads"),
    path("calls/<uuid:call_id>/proof/", CallProof.as_view(), name="call_proof"),
]
