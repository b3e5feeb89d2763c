"""One quorum of two systems: a broker and controller of the home under test, and controllers of Apache Kafka."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode

from . import install
from .broker import DEADLINE, HOME, free_port, wait_for

OURS, THEIRS = 3, (1, 2)
CLUSTER = "4L6g3nShT-eMCtK--X86sw"
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp", f"{install.SERVER_JARS}/*"]


def missing():
    """Why Apache Kafka is not to be had on this machine, or None."""
    reason = os.path.join(install.TARGET, f"kafka-{install.SERVER}.missing")
    return open(reason).read() if os.path.exists(reason) else None


def new_id():
    """As Kafka writes the id of a directory; without a dash at its beginning, which tools would take for an option."""
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


class Node:
    """One voter. Ours is a broker as well, the only one, so that there is somebody to make topics with."""

    def __init__(self, folder, number, ports, initial):
        self.number, self.is_ours = number, number == OURS
        self.folder = os.path.join(folder, str(number))
        os.makedirs(self.folder)
        self.log = os.path.join(self.folder, "data", "__cluster_metadata-0")
        self.output = os.path.join(self.folder, "output")
        self.file = os.path.join(self.folder, "server.properties")
        self.controller = f"127.0.0.1:{ports[number]}"
        self.process = None
        addresses = {n: f"127.0.0.1:{port}" for n, port in ports.items()}
        values = {
            "process.roles": "controller",
            "node.id": str(number),
            "log.dirs": os.path.join(self.folder, "data"),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CONTROLLER://{self.controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        if initial:
            values["controller.quorum.bootstrap.servers"] = ",".join(addresses.values())
        else:
            values["controller.quorum.voters"] = ",".join(f"{n}@{address}" for n, address in addresses.items())
        if self.is_ours:
            self.broker = f"127.0.0.1:{free_port()}"
            values.update({
                "process.roles": "broker,controller",
                "listeners": f"PLAINTEXT://{self.broker},CONTROLLER://{self.controller}",
                "advertised.listeners": f"PLAINTEXT://{self.broker}",
                "offsets.topic.replication.factor": "1",
            })
        else:
            # A Java process takes long to begin: it should not stand for election before it can be asked for its vote.
            values["controller.quorum.election.timeout.ms"] = "5000"
        with open(self.file, "w") as out:
            out.writelines(f"{name}={value}\n" for name, value in values.items())
        format_ = ["format", "-t", CLUSTER, "-c", self.file, *(["--initial-controllers", initial] if initial else [])]
        subprocess.run([*self.program("kafka-storage", "kafka.tools.StorageTool"), *format_], check=True, stdout=subprocess.DEVNULL)

    def program(self, script, name):
        return [os.path.join(HOME, "bin", f"{script}.sh")] if self.is_ours else [*JAVA, name]

    def start(self):
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen([*self.program("kafka-server-start", "kafka.Kafka"), self.file], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def end(self, how=signal.SIGKILL):
        if self.is_running():
            self.process.send_signal(how)
            self.process.wait(DEADLINE)

    def said(self):
        with open(self.output, errors="replace") as text:
            return text.read()

    def written(self):
        """The bytes of its metadata log."""
        with open(os.path.join(self.log, "00000000000000000000.log"), "rb") as log:
            return log.read()


class Quorum:
    """Three voters; `kraft_version` 0 names them in every file, 1 in the log."""

    def __init__(self, kraft_version):
        self.folder = tempfile.mkdtemp(prefix="compat-quorum-")
        ports = {number: free_port() for number in (*THEIRS, OURS)}
        initial = ",".join(f"{n}@127.0.0.1:{port}:{new_id()}" for n, port in ports.items()) if kraft_version else None
        self.nodes = {number: Node(self.folder, number, ports, initial) for number in ports}
        self.ours = self.nodes[OURS]

    def start(self, *numbers):
        for number in numbers or self.nodes:
            self.nodes[number].start()

    def kill(self, *numbers):
        for number in numbers:
            self.nodes[number].end()

    def tool(self, name, *arguments):
        """Runs a tool of the home under test; -> its output, or None where it failed or did not come to an end."""
        command = [os.path.join(HOME, "bin", f"{name}.sh"), *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def ask(self, node, what):
        """Asks one controller about the quorum, whether it leads or not."""
        return self.tool("kafka-metadata-quorum", "--bootstrap-controller", node.controller, "describe", what)

    def leader(self, among=(*THEIRS, OURS)):
        """Waits until one of these leads, and everybody who runs says so."""
        def agreed():
            running = [node for node in self.nodes.values() if node.is_running()]
            found = {re.search(r"LeaderId:\s+(-?\d+)", self.ask(node, "--status") or "LeaderId: -1").group(1) for node in running}
            leader = int(found.pop()) if len(found) == 1 else -1
            return leader if leader in among and self.nodes[leader].is_running() else None
        return wait_for(f"one of {among} leads", agreed)

    def make(self, topic):
        """Makes a topic through our broker: that is a commit, whoever leads."""
        made = ["--create", "--if-not-exists", "--topic", topic, "--partitions", 2, "--replication-factor", 1]
        wait_for(f"{topic} is made", lambda: self.tool("kafka-topics", "--bootstrap-server", self.ours.broker, *made) is not None)

    def topics(self):
        listed = ["--bootstrap-server", self.ours.broker, "--list"]
        return set(wait_for("the topics are listed", lambda: self.tool("kafka-topics", *listed)).split())

    def caught_up(self):
        """Waits until all three have the whole log."""
        def equal():
            told = self.ask(self.ours, "--replication") or ""
            ends = re.findall(r"^\d+\s+\S+\s+(\d+)\s+\d+\s", told, re.MULTILINE)
            return len(ends) == 3 and len(set(ends)) == 1
        wait_for("every voter has the whole log", equal)

    def remove(self):
        for node in self.nodes.values():
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)
