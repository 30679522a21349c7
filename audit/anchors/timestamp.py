"""RFC 3161: an authority that knows nothing of the log signs that a checkpoint was there at a moment.

Its answer is believed under one root certificate that an administrator pinned. With a stamp, who holds database and
signing key still cannot have written the log anew later than that moment.
"""

from dataclasses import dataclass, field

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    Verifier,
    VerifierBuilder,
    decode_timestamp_response,
)

from audit.anchors.base import AnchorFailed, Ask, Receipt

OK = 200
QUERY = (("Content-Type", "application/timestamp-query"),)


@dataclass(frozen=True, slots=True)
class Authority:
    """`trust`: the pinned certificates as PEM, root first; the authority's own may be among them, if it sends none."""

    url: str
    trust: str
    ask: Ask = field(repr=False)

    def stamp(self, note: str) -> Receipt:
        """Raises AnchorFailed."""
        message = note.encode()
        builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
        request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
        reply = self.ask("POST", self.url, headers=QUERY, body=request.as_bytes())
        if reply.status != OK:
            raise AnchorFailed(f"The timestamp authority answered {reply.status}.")
        response = check(reply.body, message, trust=self.trust, nonce=request.nonce)
        return Receipt(f"{response.tst_info.gen_time:%Y-%m-%dT%H:%M:%SZ}", reply.body)


def check(proof: bytes, message: bytes, *, trust: str, nonce: int | None = None) -> TimeStampResponse:
    """AnchorFailed unless a pinned authority stamped just this."""
    verifier = _verifier(certificates(trust), nonce)
    try:
        response = decode_timestamp_response(proof)
        if verifier.verify_message(response, message):
            return response
    except (VerificationError, ValueError, OverflowError) as error:
        raise AnchorFailed(f"The time stamp does not hold: {str(error)[:200]}") from None
    raise AnchorFailed("The time stamp does not hold.")


def certificates(trust: str) -> list[Certificate]:
    """AnchorFailed if the text is not one or more PEM certificates."""
    try:
        return load_pem_x509_certificates(trust.encode())
    except ValueError:
        raise AnchorFailed("The pinned certificates are not PEM.") from None


def _verifier(pinned: list[Certificate], nonce: int | None) -> Verifier:
    """Self-signed ones are roots, the rest help to reach them."""
    builder = VerifierBuilder()
    for certificate in pinned:
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    if nonce is not None:
        builder = builder.nonce(nonce)
    return builder.build()
