"""Credentials are found wherever they stand, whole, and what only looks like one is left alone."""

import base64
import gzip
import json
import random
import secrets
import string
from urllib.parse import quote

import pytest

from governance.inspection.checksums import crc32_base62
from governance.inspection.engine import inspect_text, inspect_value
from governance.inspection.findings import Kind
from governance.inspection.secret_formats import FORMATS, Format
from tests.governance.inspection.sampling import sample

SECRET: frozenset[Kind] = frozenset(("secret",))
SHAPES = {
    "alone": "{}",
    "env": "APP=web\nSERVICE_CRED={}\nPORT=1\n",
    "sentence": "Use {} for staging, and rotate it.",
    "json": '{{"region": "eu", "value": "{}", "n": 3}}',
    "log": "2026-01-01T00:00:00Z DEBUG loaded {} from environment",
    "markdown": "| name | value |\n|---|---|\n| x | `{}` |",
    "html": "<td>{}</td>",
}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def token(each: Format, seed: int) -> str:
    return sample(each.signal.pattern, random.Random(f"{each.rule}{seed}"))


def found(text: str) -> set[str]:
    """The parts of the text that are called secret."""
    return {text[finding.start : finding.end] for finding in inspect_text(text, kinds=SECRET)}


def covered(text: str, secret: str) -> bool:
    start = text.index(secret)
    hidden = {place for finding in inspect_text(text, kinds=SECRET) for place in range(finding.start, finding.end)}
    return hidden >= set(range(start, start + len(secret)))


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.rule)
def test_a_token_in_its_vendors_format_is_found_whole_in_any_surroundings(each: Format) -> None:
    for seed, shape in enumerate(SHAPES.values()):
        secret = token(each, seed)
        assert covered(shape.format(secret), secret), (shape, secret)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.rule)
def test_a_prefix_alone_or_with_a_filler_is_no_secret(each: Format) -> None:
    secret = token(each, 1)
    assert not found(f"tokens begin with {secret[:6]}... and are long")
    assert not found(f"value: {secret[:5]}{'x' * (len(secret) - 5)}")


WRAPPERS = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text, safe="").replace("_", "%5F"),
    "json-in-json": lambda text: json.dumps(json.dumps({"a": text})),
    "entities": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "zero-width": "\u200b".join,
    "tags": lambda text: "".join(chr(0xE0000 + ord(each)) for each in text),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_token_is_found_where_its_wrapping_stands(wrapper: str) -> None:
    wrapped = WRAPPERS[wrapper](f"token {'ghp_' + ''.join(random.Random(7).choices(LETTERS, k=36))} end")
    text = f"before\n{wrapped}\nafter"
    parts = found(text)
    assert parts
    assert all(part in wrapped for part in parts)


def test_a_valid_checksum_is_surer() -> None:
    body = "".join(random.Random(3).choices(LETTERS, k=30))
    valid, chance = f"ghp_{body}{crc32_base62(body)}", f"ghp_{body}000001"
    (sure,) = inspect_text(valid)
    (likely,) = inspect_text(chance)
    assert sure.confidence > likely.confidence >= 0.9


PASSWORDS = ("t7#kQ9w!vz", "mgqdb7-c9tv2q-4w08fy", "Xk29sLq0PzRr", "p@ssForProd_2291x")
ASSIGNED = (
    "DB_PASSWORD={}", "password: {}", 'password = "{}"', "'passwd' => '{}'", "sure, the password is: {}  thanks",
    '{{"db": {{"pass": "{}"}}}}', "<password>{}</password>", "mysql --password={} -h db",
    "spring.datasource.password={}",
    "Server=db;User Id=app;Password={};Encrypt=true", 'export PGPASSWORD="{}"', "ALTER USER app IDENTIFIED BY '{}'",
    "smtpPassword: '{}'", "curl -u deploy:{} https://ci.example.org", "postgres://app:{}@db.internal:5432/prod",
)  # fmt: skip


ASSIGNED += (
    '<add key="Password" value="{}" />', 'variable "db_password" {{\n  default = "{}"\n}}',
    "define('DB_PASSWORD', '{}');",
    "docker login -u me -p {} registry.example.org", "sshpass -p '{}' ssh root@10.0.0.5",
    "Password for staging: {}", "the password was changed to {}",
    "| user | password |\n|---|---|\n| bob | {} |", "user,password\nbob,{}\n",
    '[{{"name":"DB_PASSWORD","value":"{}"}}]', "contraseña: {}",
)  # fmt: skip


@pytest.mark.parametrize("shape", ASSIGNED)
@pytest.mark.parametrize("password", PASSWORDS[:3])
def test_a_password_is_known_by_its_name(shape: str, password: str) -> None:
    text = shape.format(password)
    assert covered(text, password)


TOKENS = ("9f86d081884c7d659a2feaa0c55ad015", "nMzBSuFxYEBCUAaQbhv9FNiMQk52GvFi", "aB3-xY9_kLmN0pQrStUv7w")
NAMED = (
    "Authorization: Bearer {}", '{{"Authorization": "Bearer {}"}}', "X-Api-Key: {}", "DD_API_KEY={}", 'apiKey: "{}"',
    "https://api.example.org/v1/items?api_key={}&page=2", "client_secret={}", 'const authToken = "{}";',
    "//npm.example.org/:_authToken={}",
    "Cookie: sessionid={}; theme=dark", "  access_token: {}\n  expires_in: 3600",
)  # fmt: skip


@pytest.mark.parametrize("shape", NAMED)
@pytest.mark.parametrize("secret", TOKENS)
def test_a_token_is_known_by_its_name(shape: str, secret: str) -> None:
    text = shape.format(secret)
    assert covered(text, secret)


@pytest.mark.parametrize("letter", ["é", "\u200b", "\U0001f600"], ids=["accent", "unseen", "picture"])
def test_a_key_may_have_any_letters(letter: str) -> None:
    value = f"k9Xq2Lm8{letter}Zt4Rw7Yp1Bn6Vc3Hs5"
    assert {each.rule for each in inspect_text(f"key={value}")} == {"named_key"}
    assert {each.rule for each in inspect_value({"key": value})} == {"named_key"}


def test_the_key_of_a_leaf_is_evidence() -> None:
    value = {"accounts": [{"password": PASSWORDS[0], "note": PASSWORDS[0], "Authorization": f"Bearer {TOKENS[1]}"}]}
    paths = {finding.path for finding in inspect_value(value)}
    assert paths == {"/accounts/0/password", "/accounts/0/Authorization"}


HARMLESS = (
    "password=changeme", "api_key=YOUR_API_KEY", 'token: "${TOKEN}"', "password: {{ vault_password }}",
    "secret=<redacted>",
    "password=********", 'api_key = os.environ["API_KEY"]', "token = get_token(user)", "secret_name: prod/db/main",
    "max_tokens: 4096",
    "the password is required and must be long", "SECRET_KEY=vault:secret/data/app#password", "token_type: bearer",
    "password: op://vault/item",
    "AWS_KEY=AKIAIOSFODNN7EXAMPLE", "primary_key=True, foreign_key='customer.id'",
    "postgres://user:password@localhost/db",
    "https://${USER}:${PASS}@example.org", "pk_live_sukGA6EeJewgwGT8zgrd5bGu",
    "next_page_token: b2Zmc2V0Ojg5ODEyODk0OA==",
    "registry/api@sha256:75fc30d62f765bf028f4549fc192d30184f069a6d279bd4414194f896e6ef51b",
    "commit 88b23aae8040e1d204ccd0a8af878f6b711d0fc2",
    '"integrity": "sha512-iYb2+nLZ+o1C93k6u6R3FyIby2oMp0gCH0JHP+fA0T/k/qlcXpVPUzduD+Ad36C/S8iuaur8f044lCfwjsEE1Q=="',
    '{"request_id": "b6f7dc8e-f87b-4a30-98c9-bc1533d78607", "etag": "b56e8db45bbe3d2a22fbcc60a7ba0558"}',
    "-----BEGIN PRIVATE KEY----- opens the file",
    "-----BEGIN CERTIFICATE-----\nMIIDOjCCAiICCQCmbkQEYlfyoTANBgkqhkiG9w0BAQUFADBeMQswCQYDVQQGEwJ1\n-----END CERTIFICATE-----",  # noqa: E501
    "if password == confirm_password: raise", "token='server-or-dc-pat'", "passwordHash: bcrypt12",
    "arn:aws:iam::115771222015:role/deploy",
)  # fmt: skip


HARMLESS += (
    'login(\n  password="admin",\n  session=session, retries=3,\n  timeout=120,\n)',
    "[badge](https://example.org/b.svg?token=CPkjw91Ngo)",
    "basic understanding of v2", "Authorization: Bearer $TOKEN", 'token = request.headers["X-Token"]',
    "secret: s3cr3t",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_what_stands_for_a_secret_is_none(text: str) -> None:
    assert not found(text)


def test_a_private_key_is_found_to_its_end_even_without_one() -> None:
    body = "\n".join(base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(8))
    closed = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    cut = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}"
    assert closed in found(f"key:\n{closed}\nend")
    assert covered(f"key:\n{cut}", cut)
    assert covered(json.dumps({"k": closed}), json.dumps(closed)[1:-1])


@pytest.mark.parametrize(
    "beginning",
    [
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
        "MIIEpAIBAAKCAQEA7bq3nXhZ0kQm2fWcT5yRbUa9vKdLs1",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg",
        "MC4CAQAwBQYDK2VwBCIEI",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
    ],
    ids=["rsa", "older-rsa", "curve", "edwards", "openssh"],
)
def test_the_body_of_a_private_key_is_found_without_the_lines_around_it(beginning: str) -> None:
    lines = [beginning, *("".join(random.Random(at).choices(string.ascii_letters, k=64)) for at in range(3)), "b2=="]
    body = "\n".join(lines)
    (found,) = [each for each in inspect_text(f"key: {body} thanks") if each.rule == "private_key"]
    assert (found.start, found.end) == (5, 5 + len(body))


def test_the_body_of_a_public_key_is_none() -> None:
    assert not inspect_text(
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gun"
    )
