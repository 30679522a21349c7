"""Tokens in the formats their vendors document: prefix, alphabet, length. Data; secrets.py judges."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from governance.inspection import checksums
from governance.inspection.findings import Severity
from governance.inspection.signals import Signal

ALNUM: Final = "A-Za-z0-9"
WORD: Final = r"A-Za-z0-9_\-"
HEX: Final = "0-9a-f"
ANY_HEX: Final = "0-9A-Fa-f"
GLIMPSE: Final = 10
"""So much of a token is enough to look closer."""
LONGEST_PREFIX: Final = 110


@dataclass(frozen=True, slots=True)
class Format:
    """`after` is the alphabet that must not go on behind the token. A token that fails `check` is only likely one."""

    rule: str
    signal: Signal
    after: str
    severity: Severity
    check: Callable[[str], bool] | None = None
    most: int = 2000
    """Characters; what is longer is something else."""


def prefixed(
    rule: str,
    prefix: str,
    alphabet: str,
    least: int,
    most: int | None = None,
    *,
    severity: Severity = Severity.CRITICAL,
    check: Callable[[str], bool] | None = None,
) -> Format:
    """`prefix` is a pattern; then so many characters, exactly `least` unless `most` allows more."""
    pattern = f"{prefix}[{alphabet}]{{{least},}}" if most else f"{prefix}[{alphabet}]{{{least}}}"
    glimpse = f"{prefix}[{alphabet}]{{{min(least, GLIMPSE)}}}"
    return Format(
        rule, Signal(f"secret.{rule}", pattern, glimpse), alphabet, severity, check, (most or least) + LONGEST_PREFIX
    )


def shaped(
    rule: str,
    pattern: str,
    glimpse: str,
    after: str = ALNUM,
    *,
    severity: Severity = Severity.CRITICAL,
    check: Callable[[str], bool] | None = None,
) -> Format:
    return Format(rule, Signal(f"secret.{rule}", pattern, glimpse), after, severity, check)


FORMATS: Final = (
    # Clouds
    prefixed("aws_access_key_id", "(?:AKIA|ASIA|ABIA|ACCA)", "A-Z0-9", 16, severity=Severity.HIGH),
    prefixed("aws_bedrock_key", "ABSK", "A-Za-z0-9+/=", 100, 280),
    prefixed("google_api_key", "AIza", WORD, 35),
    prefixed("google_oauth_secret", "GOCSPX-", WORD, 28),
    prefixed("google_access_token", r"ya29\.", r"A-Za-z0-9_\-.", 20, 1000),
    prefixed("google_refresh_token", "1//0", WORD, 35, 200),
    prefixed("google_gemini_key", r"AQ\.Ab", WORD, 30, 120),
    shaped(
        "azure_connection_string",
        r"(?:DefaultEndpointsProtocol|AccountName|Endpoint|SharedAccessKeyName|HostName)"
        r"=[^\s\"'<>\\]*(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{32,}={0,2}"
        r"(?:;[A-Za-z]+=[^\s\"'<>;\\]+)*",
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{10}",
        "",
    ),
    shaped(
        "azure_account_key",
        r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{32,120}={0,2}",
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{10}",
    ),
    shaped(
        "azure_client_secret",
        r"[A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,34}",
        r"[0-9]Q~[A-Za-z0-9_~.\-]{31}",
        r"A-Za-z0-9_~\-",
    ),
    shaped("azure_signed_url", r"[?&]sig=[A-Za-z0-9+/%]{43,80}(?:=|%3[dD])?", r"[?&]sig=[A-Za-z0-9+/%]{43}"),
    prefixed("alibaba_key_id", "LTAI", ALNUM, 12, 24, severity=Severity.HIGH),
    prefixed("tencent_secret_id", "AKID", ALNUM, 32, severity=Severity.HIGH),
    prefixed("yandex_key", "(?:AQVN|t1\\.[A-Z0-9a-z_-]{1,10}[-_]?)", WORD, 35, 250),
    prefixed("digitalocean_token", "do[opr]_v1_", HEX, 64),
    prefixed("heroku_token", "HRKU-", WORD, 36, 70),
    prefixed("fly_token", "(?:FlyV1 )?fm[12][a-z]?_", "A-Za-z0-9+/=_,-", 60, 900),
    shaped("cloudflare_token", "cf(?:at|ut|k)_[A-Za-z0-9]{40}[0-9a-f]{8}", "cf(?:at|ut|k)_[A-Za-z0-9]{10}"),
    shaped("cloudflare_origin_ca", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{10}"),
    prefixed("vercel_token", "vc[acikpr]_", ALNUM, 24, 80),
    prefixed("netlify_token", "nfp_", ALNUM, 36, 40),
    prefixed("render_key", "rnd_", ALNUM, 28, 40),
    prefixed("supabase_token", "sbp_", HEX, 40),
    prefixed("supabase_secret", "sb_secret_", WORD, 20, 60),
    prefixed("planetscale_token", "pscale_(?:tkn|pw|oauth)_", r"A-Za-z0-9_.\-", 32, 64),
    prefixed("neon_key", "napi_", ALNUM, 40, 80),
    shaped("databricks_token", "dapi[0-9A-Fa-f]{32}(?:-[0-9])?", "dapi[0-9A-Fa-f]{10}"),
    shaped("snowflake_pat", r"ver:1-hint:[0-9]{1,20}-ETMsDgAAA[A-Za-z0-9+/=]{60,}", r"ETMsDgAAA[A-Za-z0-9+/=]{10}"),
    # Code and packages
    prefixed("github_token", "gh[opsur]_", ALNUM, 36, 255, check=checksums.ends_in_crc32),
    shaped(
        "github_app_token",
        r"ghs_[0-9]{1,20}_eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+",
        r"ghs_[0-9]{1,20}_eyJ",
        WORD,
    ),
    prefixed("github_fine_grained_token", "github_pat_[A-Za-z0-9]{22}_", ALNUM, 59),
    shaped(
        "gitlab_token",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct|wt)-[A-Za-z0-9_\-]{20,}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct|wt)-[A-Za-z0-9_\-]{20}",
        WORD,
    ),
    prefixed("gitlab_runner_registration", "GR1348941", WORD, 20, 50),
    prefixed("bitbucket_app_password", "ATBB", ALNUM, 32),
    prefixed("atlassian_token", "AT(?:ATT|CTT|STT)3", r"A-Za-z0-9_=\-", 60, 400),
    prefixed("npm_token", "npm_", ALNUM, 36, check=checksums.ends_in_crc32),
    prefixed("pypi_token", "pypi-Ag(?:EIcHlwaS5vcmc|ENdGVzdC5weXBpLm9yZ)", WORD, 50, 1000),
    prefixed("rubygems_key", "rubygems_", HEX, 48),
    prefixed("crates_io_token", "cio", ALNUM, 32),
    prefixed("nuget_key", "oy2", "a-z0-9", 43),
    prefixed("clojars_token", "CLOJARS_", "a-z0-9", 60),
    prefixed("docker_token", "dckr_(?:pat|oat)_", WORD, 24, 60),
    prefixed("artifactory_token", "(?:AKCp|cmVmdGtu)", ALNUM, 56, 80),
    prefixed("terraform_token", r"[A-Za-z0-9]{14}\.atlasv1\.", WORD, 60, 70),
    prefixed("pulumi_token", "pul-", HEX, 40),
    prefixed("circleci_token", "CCI(?:PAT|PRJ)_[A-Za-z0-9]{10,30}_", HEX, 40),
    prefixed("buildkite_token", "bku[at]_", ALNUM, 40),
    prefixed("sonar_token", "sq[apu]_", HEX, 40),
    prefixed("sentry_token", "sntry[su]_", "A-Za-z0-9+/=_", 64, 400),
    prefixed("sourcegraph_token", "sgp_(?:[0-9a-f]{16}_|local_)?", HEX, 40),
    prefixed("postman_key", "PMAK-[0-9a-f]{24}-", HEX, 34),
    prefixed("octopus_key", "API-", "A-Z0-9", 26, 32, severity=Severity.HIGH),
    prefixed("prefect_key", "pn[ub]_", ALNUM, 36),
    prefixed("readme_key", "rdme_", "a-z0-9", 70),
    shaped("launchdarkly_key", r"sdk-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", r"sdk-[0-9a-f]{8}-"),
    prefixed("doppler_token", r"dp\.(?:pt|st|ct|sa|scim|audit|said)\.(?:[a-z0-9\-_]{2,35}\.)?", ALNUM, 40, 44),
    prefixed("vault_token", r"hv[bsr]\.", WORD, 24, 300),
    prefixed("onepassword_token", "ops_eyJ", "A-Za-z0-9+/=_-", 100, 4000),
    shaped(
        "onepassword_secret_key",
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
        r"A3-[A-Z0-9]{6}-[A-Z0-9]{6}",
    ),
    prefixed("openshift_token", "sha256~", WORD, 43),
    prefixed("age_key", "AGE-SECRET-KEY-1", "02-9AC-HJ-NP-Z", 58),
    prefixed("tailscale_key", "tskey-[a-z]{2,12}-[A-Za-z0-9]{8,20}-", ALNUM, 20, 40),
    # Models
    prefixed("openai_key", "sk-(?:(?:proj|svcacct|admin|service)-)?[A-Za-z0-9_-]{16,100}T3BlbkFJ", WORD, 16, 120),
    prefixed("anthropic_key", "sk-ant-(?:api|admin|oat|ort|sid)[0-9]{2}-", WORD, 60, 140),
    prefixed("openrouter_key", "sk-or-v1-", HEX, 64),
    prefixed("deepseek_key", "sk-", HEX, 32),
    prefixed("long_sk_key", "sk-", ALNUM, 48),
    prefixed("huggingface_token", "(?:hf|api_org)_", ALNUM, 34),
    prefixed("groq_key", "gsk_", ALNUM, 52),
    prefixed("replicate_token", "r8_", ALNUM, 37),
    prefixed("perplexity_key", "pplx-", ALNUM, 48, 56),
    prefixed("xai_key", "xai-", ALNUM, 80),
    prefixed("nvidia_key", "nvapi-", WORD, 60, 80),
    prefixed("tavily_key", "tvly-(?:dev-|prod-)?", WORD, 20, 48),
    prefixed("langsmith_key", "lsv2_(?:pt|sk)_[0-9a-f]{32}_", HEX, 10),
    prefixed("elevenlabs_key", "sk_", HEX, 48),
    # Mail, chat, telephone
    shaped(
        "slack_token", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9\-]{10,}", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9\-]{10}", WORD
    ),
    shaped(
        "slack_app_token",
        r"x(?:app|wfp)-[0-9]-[A-Za-z0-9]{5,20}-[0-9]{5,20}-[A-Za-z0-9]{16,100}",
        r"x(?:app|wfp)-[0-9]-[A-Za-z0-9]{5}",
    ),
    shaped(
        "slack_webhook",
        r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_\-]{16,}",
        r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_\-]{8}",
    ),
    shaped(
        "discord_webhook",
        r"https://(?:canary\.|ptb\.)?discord(?:app)?\.com/api/webhooks/[0-9]{16,20}/[A-Za-z0-9_\-]{50,90}",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{16}",
    ),
    shaped(
        "teams_webhook",
        r"https://[a-z0-9.\-]{1,60}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/\-]{60,}",
        r"\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/\-]{10}",
    ),
    shaped(
        "zapier_webhook",
        r"https://hooks\.zapier\.com/hooks/catch/[0-9]{3,12}/[A-Za-z0-9]{5,12}",
        r"hooks\.zapier\.com/hooks/catch/[0-9]{3}",
    ),
    shaped(
        "discord_token",
        r"[MNO][A-Za-z0-9]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}",
        r"[MNO][A-Za-z0-9]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27}",
        WORD,
    ),
    shaped(
        "telegram_token",
        r"(?:bot)?[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}",
        r"[0-9]{8}:AA[A-Za-z0-9_\-]{10}|[0-9]{9,10}:AA[A-Za-z0-9_\-]{10}",
        WORD,
    ),
    prefixed("sendgrid_key", r"SG\.[A-Za-z0-9_\-]{20,24}\.", WORD, 39, 50),
    shaped(
        "mailgun_key",
        r"key-[0-9a-f]{32}|[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}",
        r"key-[0-9a-f]{32}|[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}",
    ),
    shaped("mailchimp_key", r"[0-9a-f]{32}-us[0-9]{1,2}", r"[0-9a-f]{32}-us[0-9]"),
    shaped("brevo_key", r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}", r"xkeysib-[0-9a-f]{10}"),
    prefixed("resend_key", "re_[A-Za-z0-9]{8}_", ALNUM, 24),
    prefixed("twilio_key", "SK", HEX, 32),
    # Money
    prefixed("stripe_key", "(?:sk|rk)_(?:live|test|prod)_", ALNUM, 24, 247),
    prefixed("stripe_webhook_secret", "whsec_", "A-Za-z0-9+/=", 32, 64),
    prefixed("square_token", "EAAA", WORD, 60),
    prefixed("square_oauth_secret", "sq0(?:atp|csp)-", WORD, 22, 50),
    shaped(
        "shopify_token", r"shp(?:at|ca|pa|ss|tka|ua)_[A-Za-z0-9]{32,64}", r"shp(?:at|ca|pa|ss|tka|ua)_[A-Za-z0-9]{10}"
    ),
    shaped(
        "paypal_token",
        r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
        r"access_token\$(?:production|sandbox)\$",
    ),
    shaped(
        "plaid_token",
        r"access-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f\-]{27}",
        r"access-(?:sandbox|development|production)-[0-9a-f]{8}",
    ),
    prefixed("easypost_key", "EZ[AT]K", ALNUM, 54),
    prefixed("flutterwave_key", "FLWSECK(?:_TEST)?-", ALNUM, 32, 50),
    prefixed("shippo_token", "shippo_(?:live|test)_", HEX, 40),
    prefixed("adyen_key", "AQE[a-z]hmfuXNWTK0Qc[-+]", "A-Za-z0-9+/=-", 20, 200),
    # Work
    prefixed("notion_token", "ntn_[0-9]{11}", ALNUM, 35),
    prefixed("notion_legacy_token", "secret_", ALNUM, 43),
    prefixed("linear_key", "lin_(?:api|oauth)_", ALNUM, 40, 64),
    prefixed("figma_token", "fig[dour]_", WORD, 40, 60),
    prefixed("airtable_token", r"pat[A-Za-z0-9]{14}\.", HEX, 64),
    prefixed("hubspot_token", "pat-(?:na|eu|ap)[0-9]-", r"0-9a-fA-F\-", 36),
    prefixed("dropbox_token", r"sl\.(?:u\.)?", WORD, 100, 1500),
    prefixed("contentful_token", "CFPAT-", WORD, 43),
    prefixed("typeform_token", "tfp_", r"A-Za-z0-9_.\-", 40, 62),
    prefixed("facebook_token", "EAA[A-Z]", ALNUM, 40, 400),
    prefixed("mapbox_secret_token", r"sk\.eyJ", r"A-Za-z0-9_.\-", 40, 300),
    prefixed("adafruit_key", "aio_", ALNUM, 28),
    prefixed("asana_token", "[0-9]/[0-9]{15,17}(?:/[0-9]{15,17})?:", HEX, 32),
    # Watching
    prefixed("grafana_service_token", "glsa_[A-Za-z0-9]{32}_", ANY_HEX, 8),
    prefixed("grafana_cloud_token", "glc_", "A-Za-z0-9+/=", 32, 400),
    prefixed("grafana_key", "eyJrIjoi", "A-Za-z0-9+/=", 60, 400),
    prefixed("newrelic_key", "NR(?:AK|II|JS|AL|BR|SP)-", WORD, 19, 40),
    prefixed("dynatrace_token", r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.", "A-Z0-9", 64),
    prefixed("sumologic_key", "su[A-Za-z0-9]{12}:", ALNUM, 64, severity=Severity.HIGH),
    prefixed("honeycomb_key", "hc[abx][imp]k_", ALNUM, 58),
    prefixed("posthog_key", "phx_", ALNUM, 43, 48),
    # Our own
    prefixed("gatehouse_key", "gate_(?:ak|pt|[a-z]{2,4})_", WORD, 32, 120),
)
