"""All settings, flat, from the environment by the readers of config/env.py; the README lists them."""

from pathlib import Path
from urllib.parse import urlsplit

from config import database, env, keys, logs

BASE_DIR = Path(__file__).resolve().parent.parent

# The installation
DATA_DIR = keys.data_dir()
HOST = env.text("HOST", default="127.0.0.1")
PORT = env.number("PORT", default=8000, low=1, high=65535)
PUBLIC_URL = env.origin("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}")
GATEWAY_PROCESSES = env.number("GATEWAY_PROCESSES", default=1, low=1, high=64)
GATEWAY_MAX_CONNECTIONS = env.number("GATEWAY_MAX_CONNECTIONS", default=10_000, low=10, high=1_000_000)
GATEWAY_MAX_CONNECTIONS_PER_ADDRESS = env.number(
    "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", default=max(10, GATEWAY_MAX_CONNECTIONS // 4), low=1, high=1_000_000
)
GATEWAY_MAX_RUNNING = env.number("GATEWAY_MAX_RUNNING", default=1_024, low=1, high=100_000)
GATEWAY_MAX_WAITING = env.number("GATEWAY_MAX_WAITING", default=1_024, low=0, high=100_000)
DATABASE_LIMIT_GIB = env.number("DATABASE_LIMIT_GIB", default=0, low=0, high=1_000_000)
OFFBOARDING_UNDO_DAYS = env.number("OFFBOARDING_UNDO_DAYS", default=14, low=0, high=90)
OFFBOARDING_RETIRE_DAYS = env.number("OFFBOARDING_RETIRE_DAYS", default=30, low=1, high=365)
GATEWAY_HOLD_SECONDS = env.number("GATEWAY_HOLD_SECONDS", default=45, low=0, high=55)
UPSTREAM_ALLOWED_NETWORKS = env.networks("UPSTREAM_ALLOWED_NETWORKS")
STDIO_ALLOWED_COMMANDS = env.paths("STDIO_ALLOWED_COMMANDS")
MODEL_FOLDERS = env.paths("MODEL_FOLDERS")
KNOWN_HOSTS = env.words("KNOWN_HOSTS")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
GATEWAY_APPLICATION = "config.asgi:application"
GATEWAY_SETTINGS = "config.settings_gateway"
PAGES_APPLICATION = "config.asgi_pages:application"
PAGES_SOCKET = env.text("GATEHOUSE_PAGES_SOCKET")
REDIS_URL = env.secret_url("REDIS_URL", schemes=("redis", "rediss"))

# What operators see of it: numbers at /metrics, and traces where OpenTelemetry's own variables send them
PROCESS_NAME = env.text("GATEHOUSE_PROCESS")
METRICS_TOKEN = env.secret("METRICS_TOKEN", at_least=16)
OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.text("OTEL_EXPORTER_OTLP_ENDPOINT")
TRACER = "gateway.tracing.OpenTelemetry" if OTLP_ENDPOINT else ""

# Keys
SECRET_KEY = env.required_secret("SECRET_KEY", file=DATA_DIR / keys.SECRET_KEY_FILE, at_least=50)
KEK = env.key("GATEHOUSE_KEK", file=DATA_DIR / keys.KEK_FILE)
KEK_PREVIOUS = env.keys("GATEHOUSE_KEK_PREVIOUS")
AUDIT_SIGNING_KEY_FILE = env.place("AUDIT_SIGNING_KEY_FILE", default=DATA_DIR / keys.AUDIT_SIGNING_KEY_FILE)

# Django
DEBUG = env.flag("DEBUG", default=False)
HTTPS = PUBLIC_URL.startswith("https://")
PUBLIC_HOST = urlsplit(PUBLIC_URL).hostname or ""
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", default=[PUBLIC_HOST, "localhost", "127.0.0.1", "[::1]"])
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "gateway.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "channels",
    "oauth2_provider",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "governance",
    "audit",
    "gateway",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "gateway.console.csp.content_security_policy",
    "gateway.turned_away.RecordRefusals",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "gateway.console.single_sign_on.recheck.AskAgain",
    "gateway.console.accounts.sessions.RememberLastSeen",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"console": "gateway.console.tags"},
        },
    },
]
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 5 * 60
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = "UTC"
USE_TZ = True

# The database
DATABASE_URL = env.secret_url("DATABASE_URL", schemes=("postgresql", "postgres"))
# Only where tables are migrated: the parts serve as the role of DATABASE_URL, which cannot change evidence
DATABASE_OWNER_URL = env.secret_url("DATABASE_OWNER_URL", schemes=("postgresql", "postgres"))
if DATABASE_OWNER_URL and not DATABASE_URL:
    env.wrong("DATABASE_OWNER_URL", "DATABASE_URL must name the role that the parts serve as.")
DATABASES = {
    "default": database.from_url(DATABASE_OWNER_URL or DATABASE_URL, default_file=DATA_DIR / "gatehouse.sqlite3")
}
DATABASE_ROUTERS = ["audit.reading.EvidenceRouter"]
DATABASE_REPLICA_URL = env.secret_url("DATABASE_REPLICA_URL", schemes=("postgresql", "postgres"))
if DATABASE_REPLICA_URL:
    if not DATABASE_URL:
        env.wrong("DATABASE_REPLICA_URL", "only a PostgreSQL named by DATABASE_URL has replicas.")
    DATABASES["replica"] = database.replica(DATABASE_REPLICA_URL)
# Counts attempts to sign in, among others: too small a cache would forget them under a flood
CACHES = {
    "default": {"OPTIONS": {"MAX_ENTRIES": 100_000}}
    | (
        {"BACKEND": "config.cache.PatientRedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    ),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People
AUTH_USER_MODEL = "governance.User"
AUTHENTICATION_BACKENDS = ["governance.duties.DutyBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
PASSWORD_RESET_TIMEOUT = 60 * 60
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "sessionid"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrftoken"
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# W005 and W021 ask for HSTS on every subdomain of the host, which are not ours to bind.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Ways in (django-allauth): nobody signs up, and an e-mail address is IT's word
ACCOUNT_ADAPTER = "gateway.console.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105 - a class
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "20/m/ip,5/5m/key",
    "login_failed_anywhere": "100/h/key",
    "change_password": "5/5m/user",
    "reauthenticate": "10/5m/user",
    "reset_password": "10/5m/ip,3/5m/key",
}
MFA_ADAPTER = "gateway.console.accounts.second_factor.SecondFactorAdapter"
MFA_FORMS = {
    "activate_totp": "gateway.console.accounts.second_factor.ActivateAuthenticatorApp",
    "add_webauthn": "gateway.console.accounts.second_factor.AddPasskey",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Gatehouse"
MFA_TOTP_TOLERANCE = 1
USERSESSIONS_ADAPTER = "gateway.console.accounts.sessions.SessionsAdapter"

# Single sign-on; the provider describes the rest of itself
OIDC_ISSUER = env.url("OIDC_ISSUER", schemes=("https", "http"))
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.secret("OIDC_CLIENT_SECRET")
OIDC_NAME = env.text("OIDC_NAME", default="single sign-on")
OIDC_SCOPES = env.text("OIDC_SCOPES", default="openid email profile")
OIDC_GROUPS_CLAIM = env.text("OIDC_GROUPS_CLAIM", default="groups")
OIDC_TRUST_EMAIL = env.flag("OIDC_TRUST_EMAIL", default=False)
OIDC_RECHECK_SECONDS = env.number("OIDC_RECHECK_SECONDS", default=600, low=60, high=900)
OIDC_MAX_STATES = 5
SINGLE_SIGN_ON_ENDS_WITHOUT_GROUPS = env.flag("SINGLE_SIGN_ON_ENDS_WITHOUT_GROUPS", default=False)
SAML_IDP_ENTITY_ID = env.text("SAML_IDP_ENTITY_ID")
SAML_IDP_SSO_URL = env.url("SAML_IDP_SSO_URL", schemes=("https", "http"))
SAML_IDP_CERTIFICATE = env.secret("SAML_IDP_CERTIFICATE")
SAML_NAME = env.text("SAML_NAME", default="SAML")
SAML_SUBJECT_ATTRIBUTE = env.text("SAML_SUBJECT_ATTRIBUTE")
SAML_EMAIL_ATTRIBUTE = env.text("SAML_EMAIL_ATTRIBUTE", default="email")
SAML_GROUPS_ATTRIBUTE = env.text("SAML_GROUPS_ATTRIBUTE", default="groups")
SAML_TRUST_EMAIL = env.flag("SAML_TRUST_EMAIL", default=False)
LOCAL_SIGN_IN = env.text("LOCAL_SIGN_IN", default="everybody", choices=("everybody", "break-glass"))

# Clients let in (django-oauth-toolkit): it reads the protocol; rows, rules and screens are ours
OAUTH2_PROVIDER_APPLICATION_MODEL = "governance.OAuthClient"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "governance.AccessToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "governance.RefreshToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_GRANT_MODEL = "governance.AuthorizationCode"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "governance.DeviceCode"
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "governance.AccessToken"  # noqa: S105 - there are none, and no table for them
MIGRATION_MODULES = {"oauth2_provider": None}
OAUTH2_PROVIDER = {
    "OAUTH2_SERVER_CLASS": "gateway.oauth.server.AuthorizationServer",
    "OAUTH2_VALIDATOR_CLASS": "gateway.oauth.validator.Validator",
    "OIDC_ISS_ENDPOINT": PUBLIC_URL,
    "SCOPES": {},
    "DEFAULT_SCOPES": [],
    "ACCESS_TOKEN_EXPIRE_SECONDS": 10 * 60,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 60 * 60,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "PKCE_REQUIRED": True,
    **{
        f"COMPLIANT_BCP_RFC9700_{promise}": True
        for promise in (
            *("IMPLICIT_GRANT", "PASSWORD_GRANT", "PKCE_METHOD", "ACCESS_TOKEN_TRANSPORT", "AUTHZ_RESPONSE_ISS"),
            *("TOKEN_STORAGE", "REFRESH_TOKEN", "REDIRECT_URI_SCHEME", "REDIRECT_URI_MATCHING", "PKCE_REQUIRED"),
        )
    },
}

# Mail; without a server people ask IT for a one-time link
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.number("EMAIL_PORT", default=587, low=1, high=65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=True)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", default=f"gatehouse@{PUBLIC_HOST}")

# The admin's skin
BLUES = {
    "50": "#eff5ff",
    "100": "#dbe8fe",
    "200": "#bfd7fe",
    "300": "#93bbfd",
    "400": "#609afa",
    "500": "#3b7bf0",
    "600": "#1d5fd1",
    "700": "#1a4eae",
    "800": "#1b428d",
    "900": "#1c3a70",
    "950": "#152445",
}
UNFOLD = {
    "SITE_TITLE": "Gatehouse",
    "SITE_HEADER": "Gatehouse",
    "SITE_URL": None,
    "SITE_ICON": "/static/gatehouse/icon.svg",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/gatehouse/icon.svg"}],
    "STYLES": ["/static/gatehouse/admin.css"],
    "SCRIPTS": ["/static/gatehouse/skin.js"],
    "COLORS": {"primary": BLUES},
    "SIDEBAR": {"navigation": "gateway.console.navigation.navigation"},
    "DASHBOARD_CALLBACK": "gateway.console.home.page.with_home",
}

# Work in the background: payloads carry ids only, results are not kept
CELERY_BROKER_URL = env.secret_url("CELERY_BROKER_URL", schemes=("redis", "rediss")) or REDIS_URL or None
CELERY_BROKER_TRANSPORT = None if CELERY_BROKER_URL else "config.broker:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {} if CELERY_BROKER_URL else {"path": str(DATA_DIR / "broker.sqlite3"), "polling_interval": 0.5}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.2}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "discover tools": {"task": "gateway.tasks.discover_tools", "schedule": 15 * 60, "options": {"expires": 15 * 60}},
    "recover calls": {"task": "gateway.tasks.recover_calls", "schedule": 30, "options": {"expires": 30}},
    "offboard people": {"task": "gateway.tasks.offboard_people", "schedule": 10, "options": {"expires": 10}},
    "finish offboardings": {
        "task": "gateway.tasks.finish_offboardings",
        "schedule": 15,
        "options": {"expires": 15},
    },
    "sweep zombies": {"task": "gateway.tasks.sweep_zombies", "schedule": 7 * 24 * 60 * 60},
    "count calls": {"task": "gateway.tasks.count_calls", "schedule": 10, "options": {"expires": 10}},
    "fill search": {"task": "gateway.tasks.fill_search", "schedule": 10, "options": {"expires": 10}},
    "learn baselines": {
        "task": "gateway.tasks.learn_baselines",
        "schedule": 60 * 60,
        "options": {"expires": 60 * 60},
    },
    "count findings": {"task": "gateway.tasks.count_findings", "schedule": 10, "options": {"expires": 10}},
    "forget answers": {"task": "gateway.tasks.forget_answers", "schedule": 60 * 60, "options": {"expires": 60 * 60}},
    "forget exchanges": {"task": "gateway.tasks.forget_exchanges", "schedule": 60, "options": {"expires": 60}},
    "send notices": {"task": "gateway.tasks.send_notices", "schedule": 2, "options": {"expires": 2}},
    "watch credentials": {
        "task": "gateway.tasks.watch_credentials",
        "schedule": 15 * 60,
        "options": {"expires": 15 * 60},
    },
    "watch approvals": {"task": "gateway.tasks.watch_approvals", "schedule": 10, "options": {"expires": 10}},
    "forget old": {"task": "gateway.tasks.forget_old", "schedule": 5 * 60, "options": {"expires": 5 * 60}},
    "poll security events": {
        "task": "gateway.tasks.poll_security_events",
        "schedule": 60,
        "options": {"expires": 60},
    },
    "compare directories": {
        "task": "gateway.tasks.compare_directories",
        "schedule": 60,
        "options": {"expires": 60},
    },
    "revoke accounts": {"task": "gateway.tasks.revoke_accounts", "schedule": 15, "options": {"expires": 15}},
    "watch evidence": {"task": "gateway.tasks.watch_evidence", "schedule": 60, "options": {"expires": 60}},
    "keep checkpoints": {"task": "gateway.tasks.keep_checkpoints", "schedule": 30, "options": {"expires": 30}},
    "remind reviewers": {
        "task": "gateway.tasks.remind_reviewers",
        "schedule": 60 * 60,
        "options": {"expires": 60 * 60},
    },
    "make reports": {"task": "gateway.tasks.make_reports", "schedule": 10, "options": {"expires": 10}},
    "keep evidence": {"task": "gateway.tasks.keep_evidence", "schedule": 24 * 60 * 60},
    "trim changes": {"task": "gateway.tasks.trim_changes", "schedule": 60 * 60, "options": {"expires": 60 * 60}},
}

# The REST API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["gateway.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["gateway.api.permissions.ByDuty"],
    "DEFAULT_THROTTLE_CLASSES": ["gateway.api.throttling.TokenThrottle"],
    "DEFAULT_PARSER_CLASSES": ["gateway.api.bodies.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["gateway.api.bodies.JsonRenderer"],
    "DEFAULT_PAGINATION_CLASS": "gateway.api.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "gateway.api.schema.ApiSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "gateway.api.problems.problem_response",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Gatehouse API",
    "VERSION": "1",
    "DESCRIPTION": "Everything the admin can do, under the same permissions and with the same evidence.",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": "/"}],
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "AgentStatus": "governance.models.Agent.Status",
        "AttestedDecision": "governance.models.AccessReviewItem.Decision",
        "ReportState": "gateway.models.Report.State",
        "AnchorKind": "governance.models.Anchor.Kind",
        "CredentialKind": "governance.models.AgentCredential.Kind",
        "ApprovalKind": "governance.models.ApprovalRequest.Kind",
        "ApprovalVerdict": "governance.models.ApprovalDecision.Verdict",
        "FindingVerdict": "gateway.api.findings.VERDICTS",
        "DefinitionStatus": "governance.models.ToolDefinition.Status",
        "OAuthClientStatus": "governance.models.OAuthClient.Status",
        "OffboardingState": "governance.models.Offboarding.State",
        "ToolRisk": "governance.models.Tool.Risk",
        "VerdictEnum": "gateway.api.reach.VERDICTS",
        "VersionState": "governance.models.versions.State",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "gateway.api.schema.finish"],
    "SERVE_INCLUDE_SCHEMA": False,
}

# Live screens
CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [str(REDIS_URL)]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    ),
}

# Logs
LOG_LEVEL = env.text("LOG_LEVEL", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
LOG_FORMAT = env.text("LOG_FORMAT", default="text", choices=("text", "json"))
LOGGING = logs.logging_config(level=LOG_LEVEL, style=LOG_FORMAT)
