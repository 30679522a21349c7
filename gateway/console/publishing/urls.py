from django.urls import path

from gateway.console.publishing.ready_page import ReadyPolicies
from gateway.console.publishing.review_page import ReviewBundle, ReviewPolicy
from gateway.console.publishing.rules_page import RulesOfBundle, RulesOfPolicy
from gateway.console.publishing.try_page import TryBundle, TryPolicy

urlpatterns = [
    path("policies/ready/", ReadyPolicies.as_view(), name="ready_policies"),
    path("versions/bundle/<uuid:version_id>/", ReviewBundle.as_view(), name="bundle_version_review"),
    path("versions/bundle/<uuid:version_id>/try/", TryBundle.as_view(), name="bundle_version_try"),
    path("versions/bundle/<uuid:version_id>/rules/", RulesOfBundle.as_view(), name="bundle_version_rules"),
    path("versions/policy/<uuid:version_id>/", ReviewPolicy.as_view(), name="policy_version_review"),
    path("versions/policy/<uuid:version_id>/try/", TryPolicy.as_view(), name="policy_version_try"),
    path("versions/policy/<uuid:version_id>/rules/", RulesOfPolicy.as_view(), name="policy_version_rules"),
]
