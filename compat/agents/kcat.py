"""kcat: one run of the program for each request; an open consumer is a program that keeps running."""
import os
import re
import select
import signal
import subprocess
import sys
import time

from serve import b64, serve, unb64

# Fields and records are divided by bytes that no record of the tests contains.
FIELD, RECORD = b"\x1f", b"\x1e"
FORMAT = b"%t%X%p%X%o%X%T%X%K%X%k%X%S%X%s%X%h".replace(b"%X", FIELD) + RECORD


class Failed(Exception):
    pass


class Client:
    def __init__(self, bootstrap):
        self.bootstrap, self.consumers = bootstrap, {}

    def version(self):
        said = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
        return "kcat " + re.search(r"Version (\S+)", said)[1] + ", librdkafka " + re.search(r"librdkafka (\S+)", said)[1]

    def command(self, *arguments, **settings):
        pairs = [x for name, value in settings.items() for x in ("-X", f"{name.replace('_', '.')}={value}")]
        # -E: a broker that is away is waited for.
        return ["kcat", "-E", "-b", self.bootstrap, "-X", "reconnect.backoff.max.ms=500", *pairs, *arguments]

    def run(self, *arguments, stdin=b"", **settings):
        done = subprocess.run(self.command(*arguments, **settings), input=stdin, capture_output=True, timeout=170)
        sys.stderr.write(done.stderr.decode(errors="replace"))
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace")[-500:])
        return done.stdout

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        """kcat says nothing of offsets, takes headers and partition for a whole run, and cannot set timestamps."""
        for record in records:
            assert record.get("p") is not None and record.get("ts") is None, "what kcat cannot do is not asked of it"
        groups = {}
        for record in records:
            groups.setdefault((record["p"], tuple(map(tuple, record.get("h") or []))), []).append(record)
        for (partition, headers), members in groups.items():
            named = [x for name, value in headers for x in ("-H", name if value is None else f"{name}={unb64(value).decode()}")]
            lines = b"".join((unb64(r["k"]) or b"") + FIELD + (unb64(r["v"]) or b"") + RECORD for r in members)
            self.run("-P", "-t", topic, "-p", str(partition), "-z", codec, "-Z", "-K", FIELD.decode(), "-D", RECORD.decode(), *named,
                     stdin=lines, acks=acks, enable_idempotence=str(idempotent).lower(), message_max_bytes=10_000_000)
        return [None] * len(records)

    def open(self, consumer, group=None, topics=None, partitions=None, strategy=None, isolation="read_uncommitted", session_ms=10000, **_):
        settings = {"auto.offset.reset": "earliest", "isolation.level": isolation, "fetch.wait.max.ms": 100, "topic.metadata.refresh.interval.ms": 1000,
                    "fetch.message.max.bytes": 11_000_000}
        if strategy:
            settings["partition.assignment.strategy"] = strategy
        if group:
            settings.update({"session.timeout.ms": session_ms, "heartbeat.interval.ms": 300, "auto.commit.interval.ms": 100})
            where = ["-G", group, *topics]
        else:
            [topic] = {t for t, _ in partitions}
            where = ["-C", "-t", topic, "-o", "beginning"]
            if len(partitions) == 1:
                where += ["-p", str(partitions[0][1])]
        process = subprocess.Popen(self.command("-u", "-Z", "-f", FORMAT.decode(), *where, **settings), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        self.consumers[consumer] = {"process": process, "out": b"", "err": b"", "owned": [list(p) for p in partitions or []]}

    def poll(self, consumer, ms):
        c, records, events = self.consumers[consumer], [], []
        end = time.monotonic() + ms / 1000
        while not records and not events:
            left = end - time.monotonic()
            ready, _, _ = select.select([c["process"].stdout, c["process"].stderr], [], [], max(0, left))
            if not ready:
                break
            pieces = {pipe: pipe.read(1 << 20) for pipe in ready}
            c["out"] += pieces.get(c["process"].stdout) or b""
            c["err"] += pieces.get(c["process"].stderr) or b""
            if not any(pieces.values()):
                raise Failed(f"kcat ended with {c['process'].wait()}: {c['err'].decode(errors='replace')[-500:]}")
            *whole, c["out"] = c["out"].split(RECORD)
            records += [self.record(r) for r in whole]
            *lines, c["err"] = c["err"].split(b"\n")
            for line in lines:
                sys.stderr.write(line.decode(errors="replace") + "\n")
                self.rebalanced(line.decode(errors="replace"), c, events)
        return {"records": records, "events": events, "assignment": c["owned"]}

    @staticmethod
    def rebalanced(line, c, events):
        found = re.search(r"% Group \S+ rebalanced.*?\b(assign|revoke)[a-z]*\b.*: (.*)", line)
        if not found:
            return
        moved = [[t, int(p)] for t, p in re.findall(r"(\S+) \[(\d+)\]", found[2])]
        kind = "assigned" if found[1] == "assign" else "revoked"
        events.append([kind, moved])
        c["owned"] = [p for p in c["owned"] if p not in moved] + (moved if kind == "assigned" else [])

    @staticmethod
    def record(text):
        topic, partition, offset, at, key_size, key, size, value, headers = text.split(FIELD)
        pairs = [pair.partition("=") for pair in headers.decode().split(",") if pair]
        # With -Z kcat prints NULL for what is empty, too; the size tells the two apart.
        bytes_of = lambda text, size: None if size < 0 else text if size else b""
        return {"t": topic.decode(), "p": int(partition), "o": int(offset), "k": b64(bytes_of(key, int(key_size))),
                "v": b64(bytes_of(value, int(size))), "ts": int(at), "tt": None,
                "h": [[name, b64(None if value == "NULL" or not equals else value.encode())] for name, equals, value in pairs]}

    def commit(self, consumer):
        """kcat commits by itself, and when it ends."""

    def close(self, consumer):
        c = self.consumers.pop(consumer)
        c["process"].send_signal(signal.SIGINT)
        c["process"].communicate(timeout=60)

    def offsets(self, partitions, at):
        asked = {"earliest": -2, "latest": -1}.get(at, at)
        where = [x for t, p in partitions for x in ("-t", f"{t}:{p}:{asked}")]
        found = {(t, int(p)): int(o) for t, p, o in re.findall(r"(\S+) \[(\d+)\] offset (-?\d+)", self.run("-Q", *where).decode())}
        # kcat prints -1 where no record is as young as that
        return [found[(t, p)] if found[(t, p)] >= 0 else None for t, p in partitions]

    def admin(self, what, **fields):
        return getattr(self, f"admin_{what}")(**fields)

    def admin_describe(self, topic):
        said = self.run("-L", "-t", topic).decode()
        if "with 0 partitions" in said:
            raise Failed(said[-300:])
        numbers = lambda text: [int(n) for n in text.split(",") if n]
        return [{"p": int(p), "leader": int(leader), "replicas": numbers(replicas), "isr": numbers(isr)}
                for p, leader, replicas, isr in re.findall(r"partition (\d+), leader (\d+), replicas: ([\d,]*), isrs: ([\d,]*)", said)]

    def admin_topics(self):
        return re.findall(r'topic "([^"]+)" with', self.run("-L").decode())


serve(Client(sys.argv[1]), lambda error: None)
