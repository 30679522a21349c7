from django.urls import path

from gateway.console.detecting.pages import TryDetector

urlpatterns = [
    path("detectors/<uuid:detector_id>/try/", TryDetector.as_view(), name="try_detector"),
]
