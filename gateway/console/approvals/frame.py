"""What the approver's pages share. They need a sign-in and no duty: whether there is anything to see is for each person
to decide by the rules that ask, and what is not hers does not exist.

They say `same-origin` about the referrer as all our pages do (settings.SECURE_REFERRER_POLICY): nothing reaches another
site, and links hold no capability. Under `no-referrer` browsers send `Origin: null` with a form, which Django's
protection against forged requests refuses.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from django.contrib.auth.mixins import LoginRequiredMixin
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from gateway.reach.current import current_snapshot
from governance.models import User
from governance.snapshot import Snapshot


@method_decorator(never_cache, name="dispatch")
class ApprovalsPage(LoginRequiredMixin, TemplateView):
    @property
    def person(self) -> User:
        return cast(User, self.request.user)

    @cached_property
    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def snapshot(self) -> Snapshot:
        return current_snapshot()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"place": "approvals", "now": self.now, **super().get_context_data(**kwargs)}
