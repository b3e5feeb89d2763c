"""The loop that the Python agents share: requests on stdin, answers on stdout (harness/agent.py says which)."""
import base64
import json
import os
import sys
import traceback


def serve(client, code_of):
    """Calls client.<op>(**fields) for each request; code_of(exception) gives Kafka's error code, or None."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = {"ok": getattr(client, request.pop("op"))(**request)}
        except Exception as error:  # every failure is an answer; the test judges it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}", "code": code_of(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def unb64(text):
    return None if text is None else base64.b64decode(text)
