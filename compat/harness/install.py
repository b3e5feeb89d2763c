"""Puts the clients under target/compat, once: virtual environments, jars, compiled Java. Says what cannot be had.

What is there is told to the tests by files: target/compat/<client>.ready, or <client>.missing with the reason in it.
"""
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "compat")
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "compat")
VENV = os.path.join(TARGET, "venv")
# The Python binding of the same age as Debian's librdkafka, built against it.
DEBIAN_VENV = os.path.join(TARGET, "venv-debian")
DEBIAN_BINDING = "confluent-kafka==2.0.2"
JAVA_CLIENTS = ("2.1.0", "4.3.1")
# The Apache Kafka whose controllers share a quorum with ours.
SERVER = "4.3.1"
SERVER_JARS = os.path.join(TARGET, f"kafka-{SERVER}")


def python_of(venv):
    return os.path.join(venv, "bin", "python")


def say(text):
    print(f"compat: {text}", flush=True)


def everything():
    """Installs what is missing; -> the Python that runs the tests."""
    os.makedirs(TARGET, exist_ok=True)
    once("venv", [os.path.join(HERE, "requirements.txt")], python_clients)
    for name, how in [("kcat", kcat), ("librdkafka-debian", debian_librdkafka)]:
        attempt(name, [], how)
    for version in JAVA_CLIENTS:
        folder = os.path.join(HERE, "java")
        sources = [os.path.join(at, f) for at, _, files in sorted(os.walk(folder)) for f in sorted(files)]
        attempt(f"java-{version}", sources, lambda: java_client(version))
    attempt(f"kafka-{SERVER}", [os.path.join(HERE, "kafka", "pom.xml")], apache_kafka)
    return python_of(VENV)


def once(name, inputs, make):
    """Runs make() unless it succeeded before with the same inputs."""
    digest = hashlib.sha256(b"".join(open(path, "rb").read() for path in inputs)).hexdigest()
    stamp = os.path.join(TARGET, f"{name}.ready")
    if os.path.exists(stamp) and open(stamp).read() == digest:
        return
    say(f"installing {name}")
    make()
    with open(stamp, "w") as out:
        out.write(digest)


def attempt(name, inputs, make):
    """As once(), but a client that cannot be installed is a skip with its reason, not the end."""
    missing = os.path.join(TARGET, f"{name}.missing")
    if os.path.exists(missing):
        os.remove(missing)
    try:
        once(name, inputs, make)
    except (Missing, subprocess.CalledProcessError) as reason:
        stamp = os.path.join(TARGET, f"{name}.ready")
        if os.path.exists(stamp):
            os.remove(stamp)
        say(f"{name} is not to be had: {reason}")
        with open(missing, "w") as out:
            out.write(str(reason))


class Missing(Exception):
    pass


def run(*command):
    subprocess.run(command, check=True, stdout=sys.stderr)


def python_clients():
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV)
    run(python_of(VENV), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", os.path.join(HERE, "requirements.txt"))


def apt(*packages):
    """Installs Debian packages where that can be done without asking anybody."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"install it with: apt-get install {' '.join(packages)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    if subprocess.run(install, stdout=subprocess.DEVNULL, env=environment).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, env=environment, check=True)
        subprocess.run(install, stdout=subprocess.DEVNULL, env=environment, check=True)


def kcat():
    if not shutil.which("kcat"):
        apt("kcat")


def debian_librdkafka():
    if not os.path.exists("/usr/include/librdkafka/rdkafka.h"):
        apt("librdkafka-dev")
    shutil.rmtree(DEBIAN_VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", DEBIAN_VENV)
    run(python_of(DEBIAN_VENV), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-binary", "confluent-kafka", DEBIAN_BINDING)


def jars(pom, version, folder):
    """Copies what a pom names into a folder."""
    for program, package in (("javac", "openjdk-17-jdk-headless"), ("mvn", "maven")):
        if not shutil.which(program):
            raise Missing(f"{program} is not here; install it with: apt-get install {package}")
    run("mvn", "-B", "-q", "-f", os.path.join(HERE, pom), f"-Dkafka.version={version}",
        "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies", f"-DoutputDirectory={folder}")


def apache_kafka():
    shutil.rmtree(SERVER_JARS, ignore_errors=True)
    jars("kafka/pom.xml", SERVER, SERVER_JARS)


def java_client(version):
    folder = os.path.join(TARGET, f"java-{version}")
    shutil.rmtree(folder, ignore_errors=True)
    jars("java/pom.xml", version, f"{folder}/libs")
    generation = os.path.join(HERE, "java", "since-" + ("2.1" if version.startswith("2.") else "4.0"))
    sources = [os.path.join(at, f) for at in (os.path.join(HERE, "java", "src"), generation) for f in sorted(os.listdir(at))]
    run("javac", "-nowarn", "-Xlint:none", "-d", f"{folder}/classes", "-cp", f"{folder}/libs/*", *sources)
