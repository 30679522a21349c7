from django.urls import path

from gateway.console.connecting import accounts_page, overview, replacing, review
from gateway.console.connecting.address_pages import Address, NewConnector, Resume
from gateway.console.connecting.classify_page import Classify
from gateway.console.connecting.done_page import Done
from gateway.console.connecting.offers_page import ask_now, matching_offers
from gateway.console.connecting.publish_page import Publish
from gateway.console.connecting.trial_page import Test, try_now

urlpatterns = [
    path("connectors/", overview.Connectors.as_view(), name="connectors"),
    path("connectors/new/", NewConnector.as_view(), name="connector_new"),
    path("connectors/<uuid:connector_id>/", overview.Overview.as_view(), name="connector_overview"),
    path("connectors/<uuid:connector_id>/accounts/", accounts_page.Accounts.as_view(), name="connector_accounts"),
    path("connectors/<uuid:connector_id>/offers/", ask_now, name="connector_offers"),
    path("connectors/matching/<str:kind>/", matching_offers, name="matching_offers"),
    path("connectors/<uuid:connector_id>/connect/", Resume.as_view(), name="connector_resume"),
    path("connectors/<uuid:connector_id>/connect/address/", Address.as_view(), name="connector_address"),
    path("connectors/<uuid:connector_id>/connect/test/", Test.as_view(), name="connector_test"),
    path("connectors/<uuid:connector_id>/connect/test/now/", try_now, name="connector_try"),
    path("connectors/<uuid:connector_id>/connect/classify/", Classify.as_view(), name="connector_classify"),
    path("connectors/<uuid:connector_id>/connect/publish/", Publish.as_view(), name="connector_publish"),
    path("connectors/<uuid:connector_id>/connect/done/", Done.as_view(), name="connector_done"),
    path("review/", review.Queue.as_view(), name="review_queue"),
    path("review/<uuid:definition_id>/", review.Review.as_view(), name="review_definition"),
    path("secrets/<uuid:secret_id>/replace/", replacing.replace_secret, name="secret_replace"),
]
