"""What the two Python programs share: the job they are given and the line they answer with."""

import json
import sys
import time

#: The calls whose cost is measured: few enough that the buffer does not fill.
SAMPLED_CALLS = 100_000
#: Calls between two turns of an event loop.
CALLS_PER_TURN = 1000


class Job:
    def __init__(self):
        given = dict(word.split("=", 1) for word in sys.argv[1:])
        self.url = given["url"]
        self.kind = given["kind"]
        self.events = int(given["events"])
        self.idle = given.get("mode") == "idle"
        self.content_type = "application/octet-stream" if self.kind == "bytes" else "application/json"
        with open(given["messages"], "rb") as file:
            lines = file.read().splitlines()
        as_kind = {"bytes": bytes, "json": bytes.decode, "objects": json.loads}[self.kind]
        self._messages = [as_kind(line) for line in lines]

    def messages(self):
        """All messages as one list; what it holds is shared."""
        times = -(-self.events // len(self._messages))
        return (self._messages * times)[: self.events]


class Clock:
    def __init__(self):
        self._cpu = time.process_time()
        self._started = time.perf_counter()

    def report(self, accept_seconds, accept_calls, requests, repeats):
        return {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._cpu,
            "accept_seconds": accept_seconds,
            "accept_calls": accept_calls,
            "requests": requests,
            "repeats": repeats,
        }


def idle_report(waits):
    return {"waits_us": [round(wait * 1e6) for wait in waits]}


def answer(report):
    """Prints the result and stays until it was looked at."""
    print(json.dumps(report), flush=True)
    sys.stdin.read()
