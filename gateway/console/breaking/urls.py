from django.urls import URLPattern, path

from gateway.console.breaking.account_page import BreakGlassAccount
from gateway.console.breaking.pages import BreakGlass, EndBreakGlass, ReviewGrant

urlpatterns: list[URLPattern] = [
    path("break-glass/", BreakGlass.as_view(), name="break_glass"),
    path("break-glass/<uuid:grant_id>/end/", EndBreakGlass.as_view(), name="end_break_glass"),
    path("break-glass-account/", BreakGlassAccount.as_view(), name="break_glass_account"),
    path("grants/<uuid:grant_id>/review/", ReviewGrant.as_view(), name="review_grant"),
]
