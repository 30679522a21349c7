"""What there is, and the answer for everything else."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.api.fields import Strict
from gateway.api.resource import Endpoint
from governance.models import User


class IndexShown(Strict):
    person = serializers.EmailField(help_text="Whose token it is.")
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    documentation = serializers.CharField()


class Index(Endpoint):
    """Who you are here."""

    queryset = User.objects.all()
    decides_by_row = True
    permissions = {"retrieve": "governance.view_user"}

    @extend_schema(responses=IndexShown)
    def retrieve(self, request: Request) -> Response:
        token = request.auth
        return Response(
            {
                "person": request.user.email,
                "scopes": token.scopes,
                "expires_at": token.expires_at,
                "documentation": "/api/v1/docs/",
            }
        )


class Nowhere(APIView):  # type: ignore[misc]
    """An address without a resource; answered like all errors here."""

    schema = None
    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404
