from django.urls import URLPattern, path

from gateway.console.approvals.bulk import Bulk
from gateway.console.approvals.inbox import History, Inbox, InboxLive
from gateway.console.approvals.request_page import RequestLive, RequestPage

urlpatterns: list[URLPattern] = [
    path("", Inbox.as_view(), name="approvals"),
    path("live/", InboxLive.as_view(), name="approvals_live"),
    path("history/", History.as_view(), name="approvals_history"),
    path("bulk/", Bulk.as_view(), name="approvals_bulk"),
    path("<uuid:key>/", RequestPage.as_view(), name="approval"),
    path("<uuid:key>/live/", RequestLive.as_view(), name="approval_live"),
]
