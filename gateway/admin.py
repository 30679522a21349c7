from django.contrib import admin
from django.utils import timezone

from gateway.console.base import ReadOnlyModelAdmin, display
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER


@admin.register(GatewayProcess)
class GatewayProcessAdmin(ReadOnlyModelAdmin):
    list_display = ("__str__", "state", "applied_epoch", "calls_in_flight", "started_at", "beat_at", "ended_at")
    search_fields = ("host",)
    fields = ("id", "host", "pid", "started_at", "beat_at", "ended_at", "applied_epoch", "calls_in_flight")
    actions = None

    @display(description="State", label={"running": "success", "ended": "info", "lost": "danger"})
    def state(self, process: GatewayProcess) -> str:
        if process.ended_at:
            return "ended"
        return "running" if process.beat_at > timezone.now() - DEAD_AFTER else "lost"
