"""Drives one client in a process of its own: a request is a line of JSON, so is the answer.

Bytes travel as base64, partitions as [topic, number], failures as Kafka's error code where there is one. The agents
(compat/agents, compat/java) are small and alike; what they share is described here:

    produce    topic, records [{p, k, v, ts, h}], codec, acks, idempotent  -> [{p, o}]  (in the records' order)
    transact   id                                             begins and commits an empty transaction
    open       consumer, and `group` + `topics` (subscribe) or `partitions` + `from` (assign)
    poll       consumer, ms -> records, assignment, events [[assigned|revoked|lost, partitions]] since the last poll
    commit     consumer                                       position of everything polled, synchronously
    close      consumer
    offsets    partitions, at: earliest | latest | max | milliseconds -> [offset]
    admin      what: create, partitions, describe, configs, set, delete, topics, groups, group, delete_group, trim, cluster
"""
import base64
import json
import os
import queue
import signal
import subprocess
import threading


class ClientError(Exception):
    """What a client reported: `code` is Kafka's error code, or None when the client has only words."""

    def __init__(self, code, message):
        super().__init__(f"[{code}] {message}")
        self.code = code


class Future:
    def __init__(self, agent, request):
        self.agent, self.request, self.answers = agent, request, queue.Queue(1)

    def result(self, deadline=180):
        try:
            answer = self.answers.get(timeout=deadline)
        except queue.Empty:
            raise AssertionError(f"{self.agent.name} did not answer {str(self.request)[:300]} within {deadline} s: {self.agent.said()}") from None
        if answer is None:
            raise AssertionError(f"{self.agent.name} ended during {str(self.request)[:300]}: {self.agent.said()}")
        if "error" in answer:
            raise ClientError(answer.get("code"), answer["error"])
        return answer["ok"]


class Agent:
    def __init__(self, name, command, environment, log):
        self.name, self.log = name, log
        self.errors = open(log, "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        env=environment, start_new_session=True)
        self.waiting = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.waiting.get().answers.put(json.loads(line))
        while True:
            self.waiting.get().answers.put(None)

    def begin(self, op, **fields):
        """Sends a request without waiting; requests are answered in order."""
        future = Future(self, {"op": op, **fields})
        self.waiting.put(future)
        try:
            self.process.stdin.write(json.dumps(future.request).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            future.answers.put(None)
        return future

    def call(self, op, **fields):
        return self.begin(op, **fields).result()

    def admin(self, what, **fields):
        return self.call("admin", what=what, **fields)

    def said(self):
        with open(self.log, errors="replace") as text:
            return text.read()[-1500:]

    def end(self):
        """Ends the process and its children at once, as a crash would; they are a process group of their own."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.errors.close()


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def unb64(text):
    return None if text is None else base64.b64decode(text)
