from django.urls import URLPattern, path

from gateway.console.compliance.pages import ReportFile, ReportPage, Reports

urlpatterns: list[URLPattern] = [
    path("reports/", Reports.as_view(), name="reports"),
    path("reports/<uuid:report_id>/", ReportPage.as_view(), name="report"),
    path("reports/<uuid:report_id>/<str:file>", ReportFile.as_view(), name="report_file"),
]
