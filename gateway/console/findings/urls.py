from django.urls import URLPattern, path

from gateway.console.findings.bench import TestBench
from gateway.console.findings.packs import DetectionRules
from gateway.console.findings.pages import FindingPage, FindingRates
from gateway.console.findings.what_if import WhatIfPage

urlpatterns: list[URLPattern] = [
    path("findings/<uuid:finding_id>/", FindingPage.as_view(), name="finding"),
    path("findings/rates/", FindingRates.as_view(), name="finding_rates"),
    path("inspection/rules/", DetectionRules.as_view(), name="detection_rules"),
    path("inspection/what-if/", WhatIfPage.as_view(), name="what_if"),
    path("inspection/bench/", TestBench.as_view(), name="test_bench"),
]
