from django.urls import path

from gateway.console.evidence.call_page import CallPage, CallProof, OpenPayloads
from gateway.console.evidence.kept import AnchorStamp, CheckpointNote, ConsistencyFile
from gateway.console.evidence.masks_page import ShowMasks
from gateway.console.evidence.session_page import OpenSession, SessionBundle, SessionTimeline

urlpatterns = [
    path("sessions/<uuid:run_id>/", SessionTimeline.as_view(), name="session_page"),
    path("sessions/<uuid:run_id>/payloads/", OpenSession.as_view(), name="open_session"),
    path("sessions/<uuid:run_id>/bundle/", SessionBundle.as_view(), name="session_bundle"),
    path("checkpoints/<int:size>/", CheckpointNote.as_view(), name="checkpoint_note"),
    path(
        "checkpoints/<int:size>/consistency/<int:old_size>/", ConsistencyFile.as_view(), name="checkpoint_consistency"
    ),
    path("anchor-receipts/<int:receipt_id>/stamp/", AnchorStamp.as_view(), name="anchor_stamp"),
    path("calls/<uuid:call_id>/", CallPage.as_view(), name="call_page"),
    path("calls/<uuid:call_id>/payloads/", OpenPayloads.as_view(), name="open_payloads"),
    path("calls/<uuid:call_id>/masks/", ShowMasks.as_view(), name="show_masks"),
    path("calls/<uuid:call_id>/proof/", CallProof.as_view(), name="call_proof"),
]
