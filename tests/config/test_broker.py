"""The embedded broker, by the Celery worker that uses it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from kombu import Connection

WORKER = """
import sys
from celery import Celery

app = Celery("probe")
app.conf.update(
    broker_transport="config.broker:Transport",
    broker_transport_options={"path": sys.argv[1] + "/broker.sqlite3", "polling_interval": 0.05},
    task_ignore_result=True,
    worker_enable_remote_control=False,
)

@app.task(name="note")
def note(word):
    with open(sys.argv[1] + "/done", "a") as file:
        file.write(word + "\\n")

argv = "worker -P threads -c 2 --without-gossip --without-mingle -l WARNING"
app.worker_main(argv.split())
"""


def connection(folder: Path) -> Connection:
    options = {"path": str(folder / "broker.sqlite3"), "polling_interval": 0.01}
    return Connection(transport="config.broker:Transport", transport_options=options)


def test_messages_leave_in_order_once_and_for_good(tmp_path: Path):
    with connection(tmp_path) as sender, connection(tmp_path) as receiver:
        with sender.SimpleQueue("wake") as queue:
            for number in range(3):
                queue.put({"id": number})
        with receiver.SimpleQueue("wake") as queue:
            assert queue.qsize() == 3
            taken = [queue.get(timeout=20) for _ in range(3)]
            assert [message.payload["id"] for message in taken] == [0, 1, 2]
            for message in taken:
                message.ack()
            with pytest.raises(queue.Empty):
                queue.get_nowait()
    with sqlite3.connect(tmp_path / "broker.sqlite3") as file:
        assert file.execute("SELECT count(*) FROM message").fetchone() == (0,)
    file.close()


def test_what_a_closing_taker_did_not_finish_goes_to_the_next(tmp_path: Path):
    with connection(tmp_path) as sender, sender.SimpleQueue("wake") as queue:
        queue.put({"id": 1})
    for _ in range(2):
        with connection(tmp_path) as receiver, receiver.SimpleQueue("wake") as queue:
            assert queue.get(timeout=20).payload == {"id": 1}


def test_many_takers_share_without_losing_or_doubling(tmp_path: Path):
    taken: list[int] = []

    def take() -> None:
        with connection(tmp_path) as receiver, receiver.SimpleQueue("wake", no_ack=True) as queue:
            while len(taken) < 200:
                try:
                    taken.append(queue.get(timeout=0.2).payload["id"])
                except queue.Empty:
                    return

    with connection(tmp_path) as sender, sender.SimpleQueue("wake") as queue:
        for number in range(200):
            queue.put({"id": number})
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(taken) == list(range(200))


def test_a_real_worker_runs_tasks_and_stops_on_sigterm(tmp_path: Path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    argv = [sys.executable, str(script), str(tmp_path)]
    worker = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        send(tmp_path, ["one", "two", "three"])
        deadline = threading.Event()
        for _ in range(3600):
            if (tmp_path / "done").exists() and len((tmp_path / "done").read_text().split()) == 3:
                break
            deadline.wait(0.05)
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=120)
    finally:
        worker.kill()
        worker.wait()
    assert sorted((tmp_path / "done").read_text().split()) == ["one", "three", "two"], output
    assert worker.returncode == 0


def send(folder: Path, words: list[str]) -> None:
    from celery import Celery

    app = Celery("sender", set_as_current=False)
    app.conf.update(
        broker_transport="config.broker:Transport",
        broker_transport_options={"path": str(folder / "broker.sqlite3")},
        task_ignore_result=True,
    )
    for word in words:
        app.send_task("note", [word])
    app.close()
