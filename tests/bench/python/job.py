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
        self.mode = given.get("mode", "stream")
        self.rate = int(given.get("rate", 1))
        self.streams = int(given.get("streams", 1))
        self.max_buffer_bytes = int(given.get("max_buffer_bytes", 0))
        self.content_type = "application/octet-stream" if self.kind == "bytes" else "application/json"
        with open(given["messages"], "rb") as file:
            lines = file.read().splitlines()
        as_kind = {"bytes": bytes, "json": bytes.decode, "objects": json.loads}[self.kind]
        self._messages = [as_kind(line) for line in lines]

    def messages(self):
        """All messages as one list; what it holds is shared."""
        times = -(-self.events // len(self._messages))
        return (self._messages * times)[: self.events]

    def urls(self):
        """The URLs of several streams."""
        return [f"{self.url}-{number}" for number in range(self.streams)]


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


class Pace:
    """Events at a rate, and when each was begun and done. Up to 1 000 a second each comes by itself,
    above that what belongs to a millisecond comes at its start."""

    def __init__(self, job):
        self._events, self._rate = job.events, job.rate
        self._epoch_us = time.time_ns() // 1000
        self._started = time.perf_counter()
        self._begun = []
        self._done = [None] * job.events

    def _due(self, event):
        if self._rate <= 1000:
            return event * 1_000_000 // self._rate
        return event * 1000 // self._rate * 1000

    def now(self):
        return int((time.perf_counter() - self._started) * 1e6)

    def pause(self):
        """How long until the next event is due, in seconds; nothing behind the last."""
        if len(self._begun) == self._events:
            return None
        return max(0, self._due(len(self._begun)) - self.now()) / 1e6

    def begin(self, slept):
        """The events that are due. Each begins when it is due, or now if nothing kept the caller
        until then: a sleep that takes too long is not the client's."""
        first, now = len(self._begun), self.now()
        while len(self._begun) < self._events:
            due = self._due(len(self._begun))
            if due > now:
                break
            self._begun.append(now if slept else due)
        return range(first, len(self._begun))

    def done(self, events):
        now = self.now()
        for event in events:
            self._done[event] = now

    def report(self):
        return {"epoch_us": self._epoch_us, "begun_us": self._begun, "done_us": self._done}


def idle_report(waits):
    return {"waits_us": [round(wait * 1e6) for wait in waits]}


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def wait_for_word():
    """Says that it begins, and waits until it may: the server is then no longer there."""
    print("ready", flush=True)
    sys.stdin.readline()


def answer(report):
    """Prints the result and stays until it was looked at."""
    print(json.dumps(report), flush=True)
    sys.stdin.read()
