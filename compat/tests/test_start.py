"""How the broker is started: from a release without sources, on both loopback addresses, with a banner that says where."""
import os
import shutil
import signal
import socket
import subprocess

import pytest

from harness import install
from harness.broker import IS_OURS, Broker, free_port, wait_for

pytestmark = pytest.mark.skipif(not IS_OURS, reason="about our own start script")


@pytest.fixture
def release(tmp_path):
    """What a release consists of: bin, config and one binary."""
    binary = os.environ.get("KLAMM_BINARY") or os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(install.ROOT, "target")), "release", "klamm")
    for folder in ("bin", "config"):
        shutil.copytree(os.path.join(install.ROOT, folder), tmp_path / folder)
    shutil.copy(binary, tmp_path / "klamm")
    return tmp_path


@pytest.fixture
def started(release):
    """start(arguments...) runs the release's start script; -> the port and a function that reads what it said."""
    children = []

    def start(*arguments):
        port, output = free_port(), release / "output"
        environment = {name: value for name, value in os.environ.items() if name not in ("KLAMM_BINARY", "CARGO_TARGET_DIR")}
        command = [release / "bin" / "kafka-server-start.sh", *arguments, "--override", f"listeners=PLAINTEXT://localhost:{port}",
                   "--override", f"log.dirs={release}/data"]
        with open(output, "wb") as out:
            children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=release, env=environment,
                                             start_new_session=True))
        wait_for("the broker answers", lambda: children[-1].poll() is None and answers("127.0.0.1", port))
        return port, output.read_text

    yield start
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def answers(host, port):
    try:
        with socket.create_connection((host, port), 5) as connection:
            connection.settimeout(5)
            return len(Broker.ask(connection, 18, 0, b"")) > 10
    except OSError:
        return False


def has_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
            return True
        except OSError:
            return False


def test_a_release_needs_no_sources(started):
    port, said = started()
    assert str(port) in said()


def test_localhost_is_both_loopback_addresses(started):
    port, _ = started()
    assert answers("127.0.0.1", port)
    assert answers("::1", port) or not has_ipv6()


def test_the_banner_says_where_everything_is(started, release):
    file = release / "config" / "standalone.properties"
    port, said = started(str(file))
    wait_for("the banner is there", lambda: str(port) in said())
    assert f"{release}/data" in said() and str(file) in said(), said()


def test_a_tool_of_the_release_reaches_it(started, release):
    port, _ = started()
    environment = {name: value for name, value in os.environ.items() if name not in ("KLAMM_BINARY", "CARGO_TARGET_DIR")}
    run = lambda *arguments: subprocess.run(
        [release / "bin" / "kafka-topics.sh", "--bootstrap-server", f"localhost:{port}", *arguments],
        capture_output=True, text=True, timeout=60, env=environment, cwd=release)
    assert run("--create", "--topic", "army").stdout == "Created topic army.\n"
    assert run("--list").stdout.split() == ["army"]
