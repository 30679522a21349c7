"""A receiver of OTLP logs that reads what comes with the published schema and answers by the specification."""

from collections import deque

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.audit.sinks.records import Endless, answer, content_of

API_KEY = "Bearer 0123456789abcdef"


class FakeOtlp:
    """`faults` are what befalls the next requests."""

    def __init__(self) -> None:
        self.logs: list[LogRecord] = []
        self.resources: list[dict[str, str]] = []
        self.faults: deque[int | str] = deque()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/v1/logs")
        if request.headers.get("Authorization") != API_KEY:
            return answer(401)
        if request.headers.get("Content-Type") != "application/x-protobuf":
            return answer(415)
        if self.faults and (fault := _fault(self.faults.popleft(), request)):
            return fault
        sent = ExportLogsServiceRequest.FromString(content_of(request))
        rejected = 0
        for resource_logs in sent.resource_logs:
            self.resources.append({item.key: item.value.string_value for item in resource_logs.resource.attributes})
            for log in (log for scope in resource_logs.scope_logs for log in scope.log_records):
                if "poison" in log.body.string_value:
                    rejected += 1
                else:
                    self.logs.append(log)
        told = ExportLogsServiceResponse()
        if rejected:
            told.partial_success.CopyFrom(
                ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=f"no {API_KEY}")
            )
        return _protobuf(told)


def _protobuf(told: ExportLogsServiceResponse) -> httpx.Response:
    return answer(200, told.SerializeToString(), **{"Content-Type": "application/x-protobuf"})


def _fault(fault: int | str, request: httpx.Request) -> httpx.Response | None:
    match fault:
        case 429 | 503:
            return answer(fault, **{"Retry-After": "12"})
        case int():
            return answer(fault)
        case "reset":
            raise httpx.ReadError("reset", request=request)
        case "slow":
            raise httpx.ReadTimeout("slow", request=request)
        case "endless":
            return httpx.Response(503, stream=Endless())
        case "html":
            return answer(200, b"<h1>Sign in to the hotel's network</h1>")
        case "json":
            return answer(200, {"took": 3})
    raise AssertionError(fault)
