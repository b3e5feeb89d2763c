"""The clients under test: how their agent is started, and what each of them can do at all."""
import os
import sys

from . import install
from .agent import Agent

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
AGENTS = os.path.join(install.HERE, "agents")


class Client:
    """`lacks` names what this client has no call for; tests of that are not made for it."""

    def __init__(self, name, command, needs, codecs=CODECS, lacks=()):
        self.name, self.command, self.needs, self.codecs, self.lacks = name, command, needs, codecs, set(lacks)

    def missing(self):
        """Why this client is not to be had on this machine, or None."""
        reason = os.path.join(install.TARGET, f"{self.needs}.missing")
        return open(reason).read() if os.path.exists(reason) else None

    def start(self, address, folder, number):
        log = os.path.join(folder, f"{self.name}-{number}.log")
        return Agent(self.name, [*self.command, address], dict(os.environ, PYTHONDONTWRITEBYTECODE="1"), log)


def python(venv, script):
    return [install.python_of(venv), os.path.join(AGENTS, script)]


def java(version):
    folder = os.path.join(install.TARGET, f"java-{version}")
    return ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", f"{folder}/classes:{folder}/libs/*", "Agent"]


CLIENTS = [
    # kcat has no admin calls besides listing, sets no timestamps, and sends an empty key or value as null.
    Client("kcat", [sys.executable, os.path.join(AGENTS, "kcat.py")], "kcat",
           lacks=["admin", "timestamps", "empties", "placement", "max_timestamp", "static", "errors", "invalid_record", "telemetry",
                  "transactions"]),
    Client("librdkafka-debian", python(install.DEBIAN_VENV, "librdkafka.py"), "librdkafka-debian", lacks=["max_timestamp", "trim", "telemetry"]),
    Client("librdkafka", python(install.VENV, "librdkafka.py"), "venv"),
    # The leader that kafka-python 3.0.12 elects in a cooperative group of two rejoins without end, on Apache Kafka too.
    Client("kafka-python", python(install.VENV, "kafka_python.py"), "venv", lacks=["null_headers", "cooperative", "telemetry"]),
    # INVALID_RECORD is younger than Kafka 2.1, whose client calls it an unknown error.
    Client("java-2.1.0", java("2.1.0"), "java-2.1.0", lacks=["max_timestamp", "cooperative", "static", "invalid_record", "telemetry"]),
    Client("java-4.3.1", java("4.3.1"), "java-4.3.1"),
]
