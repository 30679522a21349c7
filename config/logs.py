"""How a log line looks: for people or as JSON. Tokens are cut out of both, whoever logged them."""

import json
import logging
import os
import re
from datetime import UTC, datetime
from typing import Any

TOKEN = re.compile(
    r"gate_[a-z]{2}_[A-Za-z0-9_-]+|(?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,})|(?<=/login/)[A-Za-z0-9_:-]{8,}"
)
PROCESS = os.environ.get("GATEHOUSE_PROCESS", "manage")


class TextFormatter(logging.Formatter):
    """`2026-11-21 04:24:29 gateway-1 WARNING django.request: Not Found: /x`"""

    def __init__(self) -> None:
        super().__init__(f"%(asctime)s {PROCESS} %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(super().format(record))


class JsonFormatter(logging.Formatter):
    """One object a line; a record's extra attributes stay out, since they may hold requests."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": PROCESS,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_tokens(json.dumps(line, ensure_ascii=False))


def without_tokens(line: str) -> str:
    return TOKEN.sub("<token>", line)


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    formatter = {"text": TextFormatter, "json": JsonFormatter}[style]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"handlers": [], "propagate": True},
            "django.db.backends": {"level": "WARNING"},
            "oauthlib": {"level": "INFO"},
            "oauth2_provider": {"level": "INFO"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "kombu.connection": {"level": "ERROR"},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
        },
    }
