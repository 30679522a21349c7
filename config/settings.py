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
UPSTREAM_ALLOWED_NETWORKS = env.networks("UPSTREAM_ALLOWED_NETWORKS")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
REDIS_URL = env.secret_url("REDIS_URL", schemes=("redis", "rediss"))

# Keys
SECRET_KEY = env.required_secret("SECRET_KEY", file=DATA_DIR / keys.SECRET_KEY_FILE, at_least=50)
KEK = env.key("GATEHOUSE_KEK", file=DATA_DIR / keys.KEK_FILE)
KEK_PREVIOUS = env.keys("GATEHOUSE_KEK_PREVIOUS")
AUDIT_SIGNING_KEY_FILE = DATA_DIR / keys.AUDIT_SIGNING_KEY_FILE

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
    "channels",
    "rest_framework",
    "django_celery_beat",
    "governance",
    "audit",
    "gateway",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "gateway.console.csp.content_security_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
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
        },
    },
]
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# The database
DATABASE_URL = env.secret_url("DATABASE_URL", schemes=("postgresql", "postgres"))
DATABASES = {"default": database.from_url(DATABASE_URL, default_file=DATA_DIR / "gatehouse.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People
AUTH_USER_MODEL = "governance.User"
AUTHENTICATION_BACKENDS = ["governance.duties.DutyBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# W005 and W021 ask for HSTS on every subdomain of the host, which are not ours to bind.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

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
    "COLORS": {"primary": BLUES},
    "SIDEBAR": {"navigation": "gateway.console.navigation.navigation"},
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
    "trim changes": {"task": "gateway.tasks.trim_changes", "schedule": 60 * 60, "options": {"expires": 60 * 60}},
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
