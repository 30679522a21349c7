"""Requests to AWS signed by botocore; loaded where somebody asks such a service."""

from collections.abc import Callable

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

Sign = Callable[[str, bytes], tuple[tuple[str, str], ...]]
"""The headers that sign a POST of this body to this address, beside its content type."""


def signer(key_id: str, key: str, *, service: str, region: str) -> Sign:
    auth = SigV4Auth(Credentials(key_id, key), service, region)

    def sign(url: str, body: bytes) -> tuple[tuple[str, str], ...]:
        request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
        auth.add_auth(request)
        return tuple((str(name), str(value)) for name, value in request.headers.items() if name != "Content-Type")

    return sign
