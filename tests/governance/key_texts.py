"""Keys made for these tests and used nowhere else."""

import json

P256_MEMBERS = {
    "kty": "EC",
    "crv": "P-256",
    "x": "Na-e3qNPPXtOtc8rnS5R_TrE6HkIb7IJYHIMmGRKaDM",
    "y": "gzMJWe_IWKgSkezsodjuUPOCBCTib6g4HxhP3qXMuRM",
}
P256_JWK = json.dumps(P256_MEMBERS)
P256_D = "xma1-wBBlrlsvM84m8FQcG0rOovwe9b0dg6UfDNtC1A"
