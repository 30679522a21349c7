from django.urls import URLPattern, path

from gateway.console.attesting.pages import AccessReviewPage, AccessReviews, Remind
from gateway.console.attesting.reviewer import Attest, ToAttest

urlpatterns: list[URLPattern] = [
    path("access-reviews/", AccessReviews.as_view(), name="access_reviews"),
    path("access-reviews/<uuid:review_id>/", AccessReviewPage.as_view(), name="access_review"),
    path("access-reviews/<uuid:review_id>/remind/", Remind.as_view(), name="remind_reviewers"),
]

reviewer_urls: list[URLPattern] = [
    path("", ToAttest.as_view(), name="to_attest"),
    path("<uuid:item_id>/", Attest.as_view(), name="attest_item"),
]
