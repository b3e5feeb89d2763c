"""Starts, stops and kills brokers, ours or Apache Kafka's, in temporary folders on free ports: one alone, or three."""
import concurrent.futures
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from . import install

HOME = os.environ.get("COMPAT_HOME", install.ROOT)
IS_OURS = os.path.exists(os.path.join(HOME, "Cargo.toml"))
DEADLINE = float(os.environ.get("COMPAT_DEADLINE", "90"))


def wait_for(what, condition, deadline=None, every=0.02):
    """Asks again and again until condition() is true; -> its value. The deadline is generous: it only ends a failure."""
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {deadline or DEADLINE} s (last seen: {value!r})"
        time.sleep(every)


def free_port():
    """Below the range that outgoing connections take theirs from, so that a restarted broker finds it free again."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def build():
    """Has the start script's binary built before the first test, so that no test waits for a compiler."""
    if IS_OURS:
        subprocess.run([os.path.join(HOME, "bin", "kafka-topics.sh"), "--version"], check=True, stdout=subprocess.DEVNULL)


class Broker:
    """One broker with a file of its own; settings are keyword arguments, with _ for the dots."""

    def __init__(self, port=None, **settings):
        self.folder = tempfile.mkdtemp(prefix="compat-broker-")
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.data = os.path.join(self.folder, "data")
        self.file = os.path.join(self.folder, "server.properties")
        self.output = os.path.join(self.folder, "output")
        self.process = None
        values = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": self.data,
            "num.partitions": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
        }
        if not IS_OURS:
            controller = free_port()
            values.update({
                "process.roles": "broker,controller",
                "node.id": "1",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "controller.listener.names": "CONTROLLER",
                "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "transaction.state.log.replication.factor": "1",
                "transaction.state.log.min.isr": "1",
            })
        values.update({name.replace("_", "."): str(value) for name, value in settings.items()})
        with open(self.file, "w") as out:
            out.writelines(f"{name}={value}\n" for name, value in values.items())
        if "process.roles" in values:
            format_ = os.path.join(HOME, "bin", "kafka-storage.sh")
            subprocess.run([format_, "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", self.file], check=True, stdout=subprocess.DEVNULL)

    def start(self):
        with open(self.output, "ab") as output:
            start = os.path.join(HOME, "bin", "kafka-server-start.sh")
            self.process = subprocess.Popen([start, self.file], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True)
        try:
            wait_for(f"the broker answers on {self.address}", self.answers)
        except BaseException:
            # The start script may have children; they are a process group of their own.
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self

    def answers(self):
        assert self.process.poll() is None, f"the broker ended with {self.process.returncode}: {self.tail()}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                return len(self.ask(connection, 18, 0, b"")) > 10
        except OSError:
            return False

    @staticmethod
    def ask(connection, key, version, body):
        """One request with a version 1 header; -> the answer's frame, from the correlation id on."""
        request = struct.pack(">hhih", key, version, 1, 7) + b"harness" + body
        connection.sendall(struct.pack(">i", len(request)) + request)

        def exactly(count):
            got = b""
            while len(got) < count:
                piece = connection.recv(count - len(got))
                if not piece:
                    raise ConnectionError("the broker closed the connection")
                got += piece
            return got

        return exactly(struct.unpack(">i", exactly(4))[0])

    def log_end_offset(self, topic, partition=0):
        """ListOffsets (version 1) for the end of a partition's log; 0 while it is unknown."""
        name = topic.encode()
        body = struct.pack(">iih", -1, 1, len(name)) + name + struct.pack(">iiq", 1, partition, -1)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                answer = self.ask(connection, 2, 1, body)
        except OSError:
            return 0
        error, _, offset = struct.unpack(">hqq", answer[-18:])
        return offset if error == 0 else 0

    def stop(self):
        """SIGTERM, and the exit that follows it."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE)
        assert not IS_OURS or code == 0, f"the broker ended with {code} after SIGTERM: {self.tail()}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)

    def restart(self, how):
        {"stop": self.stop, "kill": self.kill}[how]()
        self.start()

    def tail(self, length=2000):
        with open(self.output, errors="replace") as text:
            return text.read()[-length:]

    def remove(self):
        """Ends what this object started, checks that it did not panic and could say all it had to, and removes its folder."""
        running = self.process is not None and self.process.poll() is None
        if running:
            self.kill()
        log = self.tail(10_000_000) if self.process else ""
        panicked, unsayable = ("panicked at" in log, "cannot be encoded" in log)
        said = self.tail()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not panicked, f"the broker panicked: {said}"
        assert not unsayable, f"an answer says what its version has no place for: {said}"
        assert running or self.process is None, f"the broker ended by itself with {self.process.returncode}: {said}"


class Cluster:
    """Three nodes, each broker and controller; clients get all addresses."""

    def __init__(self):
        ports = [(free_port(), free_port()) for _ in range(3)]
        voters = ",".join(f"{at}@127.0.0.1:{controller}" for at, (_, controller) in enumerate(ports, 1))
        self.nodes = [Broker(port=port, process_roles="broker,controller", node_id=at, controller_quorum_voters=voters,
                             controller_listener_names="CONTROLLER",
                             listeners=f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
                             advertised_listeners=f"PLAINTEXT://127.0.0.1:{port}",
                             listener_security_protocol_map="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                             min_insync_replicas=2, offsets_topic_replication_factor=3,
                             transaction_state_log_replication_factor=3, transaction_state_log_min_isr=2)
                      for at, (port, controller) in enumerate(ports, 1)]
        self.address = ",".join(node.address for node in self.nodes)

    def start(self):
        """All at once: two of them are needed before one can serve."""
        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            for started in [pool.submit(node.start) for node in self.nodes]:
                started.result()
        return self

    def remove(self):
        failures = []
        for node in self.nodes:
            try:
                node.remove()
            except AssertionError as failure:
                failures.append(failure)
        assert not failures, failures
