from django.urls import path

from gateway.console.evidence.runs import DropSearch, OpenRun, RunPage, Runs, SaveSearch

urlpatterns = [
    path("", Runs.as_view(), name="runs"),
    path("saved/", SaveSearch.as_view(), name="save_search"),
    path("saved/<uuid:search_id>/drop/", DropSearch.as_view(), name="drop_search"),
    path("<uuid:run_id>/", RunPage.as_view(), name="run_page"),
    path("<uuid:run_id>/payloads/", OpenRun.as_view(), name="open_run"),
]
