from django.urls import path

from gateway.console.directories import losses, pages

urlpatterns = [
    path("<uuid:directory_id>/", pages.Overview.as_view(), name="directory"),
    path("<uuid:directory_id>/token/", pages.NewToken.as_view(), name="directory_token"),
    path("<uuid:directory_id>/losses/", losses.Losses.as_view(), name="directory_losses"),
    path("tokens/<uuid:directory_token_id>/revoke/", pages.RevokeToken.as_view(), name="revoke_directory_token"),
    path("users/<uuid:directory_user_id>/adopt/", pages.Adopt.as_view(), name="adopt_directory_user"),
    path("mappings/<uuid:mapping_id>/approve/", pages.ApproveMapping.as_view(), name="approve_group_mapping"),
]
