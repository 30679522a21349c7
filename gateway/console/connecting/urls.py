from django.urls import path

from gateway.console.connecting import overview, replacing, review, wizard

urlpatterns = [
    path("connectors/", overview.Connectors.as_view(), name="connectors"),
    path("connectors/new/", wizard.NewConnector.as_view(), name="connector_new"),
    path("connectors/<uuid:connector_id>/", overview.Overview.as_view(), name="connector_overview"),
    path("connectors/<uuid:connector_id>/connect/", wizard.Resume.as_view(), name="connector_resume"),
    path("connectors/<uuid:connector_id>/connect/address/", wizard.Address.as_view(), name="connector_address"),
    path("connectors/<uuid:connector_id>/connect/test/", wizard.Test.as_view(), name="connector_test"),
    path("connectors/<uuid:connector_id>/connect/test/now/", wizard.try_now, name="connector_try"),
    path("connectors/<uuid:connector_id>/connect/classify/", wizard.Classify.as_view(), name="connector_classify"),
    path("connectors/<uuid:connector_id>/connect/publish/", wizard.Publish.as_view(), name="connector_publish"),
    path("connectors/<uuid:connector_id>/connect/done/", wizard.Done.as_view(), name="connector_done"),
    path("review/", review.Queue.as_view(), name="review_queue"),
    path("review/<uuid:definition_id>/", review.Review.as_view(), name="review_definition"),
    path("secrets/<uuid:secret_id>/replace/", replacing.replace_secret, name="secret_replace"),
]
