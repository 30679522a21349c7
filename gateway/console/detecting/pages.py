"""Whether a detector of somebody else's answers."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from connectors.detectors import DETECTOR_KINDS
from gateway.actions import act
from gateway.console.pages import GovernedPage
from gateway.detector_setup import SAMPLE, try_detector
from governance.models import ExternalDetector


class TryDetector(GovernedPage):
    """Asked before the transaction in which it is put on record: it may take its time."""

    permission = "governance.change_externaldetector"
    title = "Try a detector"
    template_name = "console/detecting/try.html"
    http_method_names = ("get", "post", "head", "options")

    @property
    def detector(self) -> ExternalDetector:
        return get_object_or_404(ExternalDetector.objects.select_related("secret"), pk=self.kwargs["detector_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        trial = try_detector(self.detector)
        act(lambda record, now: record(trial.as_fact()), by=self.by)
        return self.render_to_response(self.get_context_data(trial=trial))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        detector = self.detector
        kind = DETECTOR_KINDS.get(detector.kind)
        about = {"detector": detector, "kind": kind.label if kind else detector.kind, "sample": SAMPLE}
        return super().get_context_data(**about, **kwargs)
