"""The Python package under the client conformance suite: a JSON command per line in, a result per
line out. Uses nothing but the public API of ``durstream``."""

from __future__ import annotations

import base64
import json
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import durstream
from durstream import DurableStream, DurstreamError, IdempotentProducer, Outcome, Receipt

Command = Mapping[str, Any]
Result = Dict[str, Any]

FEATURES = ("batching", "retryOptions", "batchItems", "strictZeroValidation", "dynamicHeaders")

#: The suite's names where they are not the library's own.
CODES = {
    "STREAM_NOT_FOUND": "NOT_FOUND",
    "STREAM_EXISTS": "CONFLICT",
    "VALIDATION": "INVALID_ARGUMENT",
    "INTERNAL": "INTERNAL_ERROR",
}

#: The options of `validate` by the suite's names.
RETRY_OPTIONS = {
    "maxRetries": "max_retries",
    "initialDelayMs": "retry_initial_delay_ms",
    "maxDelayMs": "retry_max_delay_ms",
    "multiplier": "retry_multiplier",
}
PRODUCER_OPTIONS = {
    "epoch": "epoch",
    "maxBatchBytes": "max_batch_bytes",
    "maxBatchItems": "max_batch_items",
}


class NotSupported(Exception):
    """The adapter, or the library, does not do this."""


class Dynamic:
    """A header or query parameter that changes from command to command."""

    def __init__(self, command: Command) -> None:
        self.kind = command["valueType"]
        self.token = command.get("initialValue") or ""
        self.count = 0

    def next(self) -> str:
        if self.kind == "counter":
            self.count += 1
            return str(self.count)
        return str(time.time_ns() // 1_000_000) if self.kind == "timestamp" else self.token


class Adapter:
    """What lives between commands."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.content_types: Dict[str, str] = {}
        self.producers: Dict[Tuple[str, str, int], IdempotentProducer] = {}
        self.opened: Dict[str, Tuple[IdempotentProducer, List[Receipt]]] = {}
        #: Headers and query parameters that change from command to command.
        self.changing: Dict[str, Dict[str, Dynamic]] = {"headers": {}, "params": {}}
        #: What they are for the command at hand.
        self.now: Dict[str, Dict[str, str]] = {"headers": {}, "params": {}}

    def url(self, command: Command) -> str:
        return f"{self.server}{command['path']}"

    def stream(self, command: Command, **options: Any) -> DurableStream:
        """A handle for one command. Sends nothing."""
        known = given({"content_type": self.content_types.get(command["path"])})
        own = values_of(command.get("streamOptions"))
        return DurableStream.connect(self.url(command), **{**known, **own, **options})

    def sent(self, command: Command) -> Dict[str, Any]:
        """What goes out with the command's requests."""
        headers = {name: self.asked(name, own) for name, own in self.changing["headers"].items()}
        params = {n: self.value("params", n, own) for n, own in self.changing["params"].items()}
        filled = {
            "headers": {**headers, **(command.get("headers") or {})},
            "params": {**params, **(command.get("params") or {})},
        }
        return {name: values for name, values in filled.items() if values}

    def asked(self, name: str, changing: Dynamic) -> Callable[[], str]:
        return lambda: self.value("headers", name, changing)

    def value(self, where: str, name: str, changing: Dynamic) -> str:
        """The value for the command at hand, however often it is asked for."""
        now = self.now[where]
        if name not in now:
            now[name] = changing.next()
        return now[name]

    # --- The process ---------------------------------------------------------------------------

    def init(self, command: Command) -> Result:
        for producer in [*self.producers.values(), *(own for own, _ in self.opened.values())]:
            producer.stop()
        Adapter.__init__(self, command["serverUrl"].rstrip("/"))
        features = dict.fromkeys(FEATURES, True)
        version = durstream.__version__
        return {"clientName": "durstream-python", "clientVersion": version, "features": features}

    def shutdown(self, _: Command) -> Result:
        return {}

    def set_dynamic_header(self, command: Command) -> Result:
        self.changing["headers"][command["name"]] = Dynamic(command)
        return {}

    def set_dynamic_param(self, command: Command) -> Result:
        self.changing["params"][command["name"]] = Dynamic(command)
        return {}

    def clear_dynamic(self, _: Command) -> Result:
        for values in self.changing.values():
            values.clear()
        return {}

    # --- Streams -------------------------------------------------------------------------------

    def create(self, command: Command) -> Result:
        known = self.stream(command, **self.sent(command)).head().exists
        content_type = command.get("contentType") or "application/octet-stream"
        options = {
            "content_type": content_type,
            "ttl_seconds": command.get("ttlSeconds"),
            "expires_at": command.get("expiresAt"),
            "closed": command.get("closed"),
            "body": command.get("data"),
        }
        DurableStream.create(self.url(command), **given(options), **self.sent(command))
        self.content_types[command["path"]] = content_type
        return {"status": 200 if known else 201}

    def connect(self, command: Command) -> Result:
        return self.head(command)

    def head(self, command: Command) -> Result:
        stream = self.stream(command, **self.sent(command))
        metadata = stream.head()
        if not metadata.exists:
            raise durstream.StreamNotFoundError(f"there is no stream at {stream.url}", status=404)
        if metadata.content_type is not None:
            self.content_types[command["path"]] = metadata.content_type
        found = {
            "offset": metadata.offset,
            "contentType": metadata.content_type,
            "streamClosed": metadata.stream_closed,
            "ttlSeconds": metadata.ttl_seconds,
            "expiresAt": metadata.expires_at,
        }
        return {"status": 200, **given(found)}

    def append(self, command: Command) -> Result:
        data = command["data"]
        message = base64.b64decode(data) if command.get("binary") else data
        seq = command.get("seq")
        stream = self.stream(command, **self.sent(command))
        outcome = stream.append(message, seq=None if seq is None else str(seq))
        found = {"offset": outcome.offset, "duplicate": outcome.duplicate or None}
        return {"status": 200, **given(found)}

    def append_stream(self, command: Command) -> Result:
        return asdict(self.stream(command, **self.sent(command)).append_stream(command["items"]))

    def read(self, command: Command) -> Result:
        if command.get("live"):
            raise NotSupported("live reads")
        reader = self.stream(command, **self.sent(command)).read(command.get("offset"))
        chunks = [{**as_text(chunk.data), "offset": chunk.offset} for chunk in reader]
        found = {"offset": reader.offset}
        states = {"upToDate": reader.up_to_date, "streamClosed": reader.stream_closed}
        return {"status": 200, "chunks": chunks, **given(found), **states}

    def close(self, command: Command) -> Result:
        own = given({"content_type": command.get("contentType")})
        result = self.stream(command, **own, **self.sent(command)).close(command.get("data"))
        return {"status": 200, **given({"finalOffset": result.final_offset})}

    def delete(self, command: Command) -> Result:
        self.stream(command, **self.sent(command)).delete()
        self.content_types.pop(command["path"], None)
        return {"status": 200}

    # --- Producers, as upstream drives them ----------------------------------------------------

    def producer(self, command: Command, **options: Any) -> IdempotentProducer:
        epoch = {"epoch": command.get("epoch"), "auto_claim": command.get("autoClaim")}
        options = {**given(epoch), **options, **self.sent(command)}
        return IdempotentProducer(self.stream(command), command["producerId"], **options)

    def shared_producer(self, command: Command) -> IdempotentProducer:
        key = producer_key(command)
        if key not in self.producers:
            self.producers[key] = self.producer(command, max_in_flight=1)
        return self.producers[key]

    def idempotent_append(self, command: Command) -> Result:
        producer = self.shared_producer(command)
        producer.append(command["data"])
        duplicate = producer.flush().duplicates > 0 or None
        return {"status": 200, **given({"offset": producer.last_offset, "duplicate": duplicate})}

    def idempotent_append_batch(self, command: Command) -> Result:
        in_flight = command.get("maxInFlight") or 1
        # Each item a request of its own, or all of them in one.
        batching = {"max_batch_bytes": 1} if in_flight > 1 else {"linger_ms": 1000}
        with self.producer(command, max_in_flight=in_flight, **batching) as producer:
            producer.append_many(command["items"])
            producer.flush()
        return {"status": 200}

    def idempotent_close(self, command: Command) -> Result:
        result = self.shared_producer(command).close(command.get("data"))
        return {"status": 200, **given({"finalOffset": result.final_offset})}

    def idempotent_detach(self, command: Command) -> Result:
        producer = self.producers.pop(producer_key(command), None)
        if producer is not None:
            producer.detach()
        return {"status": 200}

    # --- Producers, as the project's own cases drive them --------------------------------------

    def producer_open(self, command: Command) -> Result:
        options = {**values_of(command.get("options")), **self.sent(command)}
        producer = IdempotentProducer(self.stream(command), command["producerId"], **options)
        self.opened[command["as"]] = (producer, [])
        return {}

    def producer_append(self, command: Command) -> Result:
        producer, receipts = self.opened[command["producer"]]
        accepted, turned_away = 0, []
        for index, item in enumerate(command["items"]):
            receipt = producer.try_append(item)
            if receipt.accepted:
                accepted += 1
                receipts.append(receipt)
            else:
                turned_away.append({"index": index, "errorCode": refusal(receipt)})
        return {"accepted": accepted, "refused": turned_away}

    def producer_flush(self, command: Command) -> Result:
        return asdict(self.opened[command["producer"]][0].flush())

    def producer_close(self, command: Command) -> Result:
        result = self.opened[command["producer"]][0].close(command.get("data"))
        return given({"finalOffset": result.final_offset})

    def producer_detach(self, command: Command) -> Result:
        return asdict(self.opened[command["producer"]][0].detach())

    def producer_outcomes(self, command: Command) -> Result:
        _, receipts = self.opened[command["producer"]]
        return {"outcomes": [described(receipt.wait()) for receipt in receipts]}

    # --- Arguments -----------------------------------------------------------------------------

    def validate(self, command: Command) -> Result:
        target = command["target"]
        kind = target["target"]
        url = f"{self.server}/validate"
        if kind == "retry-options":
            DurableStream.connect(url, **renamed(target, RETRY_OPTIONS))
        elif kind == "idempotent-producer":
            identity = target.get("producerId", "validate")
            options = renamed(target, PRODUCER_OPTIONS)
            IdempotentProducer(DurableStream.connect(url), identity, **options).stop()
        else:
            raise NotSupported(f"validating {kind}")
        return {}

    def answer(self, command: Command) -> Result:
        """Runs one command."""
        kind = command["type"]
        run = COMMANDS.get(kind)
        self.now = {"headers": {}, "params": {}}
        try:
            if run is None:
                raise NotSupported(str(kind))
            result = run(self, command)
            sent = {f"{where}Sent": values for where, values in self.now.items() if values}
            return {"type": kind, "success": True, **result, **sent}
        except NotSupported as missing:
            return failed(kind, "NOT_SUPPORTED", f"not supported: {missing}")
        except DurstreamError as error:
            return refused(command, error)
        except Exception as bug:
            traceback.print_exc()
            return failed(kind, "INTERNAL_ERROR", repr(bug))


COMMANDS: Dict[str, Callable[[Adapter, Command], Result]] = {
    "init": Adapter.init,
    "shutdown": Adapter.shutdown,
    "set-dynamic-header": Adapter.set_dynamic_header,
    "set-dynamic-param": Adapter.set_dynamic_param,
    "clear-dynamic": Adapter.clear_dynamic,
    "create": Adapter.create,
    "connect": Adapter.connect,
    "head": Adapter.head,
    "append": Adapter.append,
    "append-stream": Adapter.append_stream,
    "read": Adapter.read,
    "close": Adapter.close,
    "delete": Adapter.delete,
    "idempotent-append": Adapter.idempotent_append,
    "idempotent-append-batch": Adapter.idempotent_append_batch,
    "idempotent-close": Adapter.idempotent_close,
    "idempotent-detach": Adapter.idempotent_detach,
    "producer-open": Adapter.producer_open,
    "producer-append": Adapter.producer_append,
    "producer-flush": Adapter.producer_flush,
    "producer-close": Adapter.producer_close,
    "producer-detach": Adapter.producer_detach,
    "producer-outcomes": Adapter.producer_outcomes,
    "validate": Adapter.validate,
}


def values_of(options: Optional[Mapping[str, str]]) -> Dict[str, Any]:
    """Options with their values, which the cases write as text."""
    return {name: typed(text) for name, text in (options or {}).items()}


def typed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def given(values: Mapping[str, Any]) -> Dict[str, Any]:
    """What is there."""
    return {name: value for name, value in values.items() if value is not None}


def renamed(target: Command, names: Mapping[str, str]) -> Dict[str, Any]:
    """The options of a validation by the library's names."""
    return {ours: target[theirs] for theirs, ours in names.items() if theirs in target}


def producer_key(command: Command) -> Tuple[str, str, int]:
    return command["path"], command["producerId"], command.get("epoch") or 0


def as_text(data: bytes) -> Result:
    try:
        return {"data": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(data).decode("ascii"), "binary": True}


def described(outcome: Outcome) -> Result:
    flags = {"duplicate": outcome.duplicate, "maybeDuplicate": outcome.maybe_duplicate}
    found: Result = {"status": outcome.status, **given({"reason": outcome.reason})}
    return {**found, **{name: True for name, is_set in flags.items() if is_set}}


def refusal(receipt: Receipt) -> str:
    """Why a write was not accepted."""
    outcome = receipt.outcome
    assert outcome is not None and outcome.error is not None
    return code(outcome.error)


def code(error: DurstreamError) -> str:
    """The suite's name for an error."""
    if error.code == "TRANSPORT":
        return "NETWORK_ERROR" if error.status is None else "UNEXPECTED_STATUS"
    if error.code == "PROTOCOL":
        answered = error.status is not None and error.status >= 400
        return "UNEXPECTED_STATUS" if answered else "PARSE_ERROR"
    return CODES.get(error.code, error.code)


def failed(kind: str, error_code: str, message: str, **more: Any) -> Result:
    return {
        "type": "error",
        "success": False,
        "commandType": kind,
        **more,
        "errorCode": error_code,
        "message": message,
    }


def refused(command: Command, error: DurstreamError) -> Result:
    """The result of a command that raised."""
    kind = command["type"]
    # A flush says how many; why is its first cause.
    if isinstance(error, durstream.DeliveryError) and error.cause is not None:
        error = error.cause
    name, message = code(error), str(error)
    if isinstance(error, durstream.InvalidArgumentError):
        if kind == "read" and error.option == "offset" and error.status == 400:
            name = "INVALID_OFFSET"
        if kind == "validate" and error.option is not None:
            message = spelled(message, error.option)
    return failed(kind, name, message, definite=error.definite, **given({"status": error.status}))


def spelled(message: str, option: str) -> str:
    """An error's text with its option in the suite's spelling."""
    names = {**RETRY_OPTIONS, **PRODUCER_OPTIONS}
    for theirs, ours in names.items():
        if ours == option:
            return message.replace(f"`{ours}`", f"`{theirs}`")
    return message


def main() -> None:
    adapter = Adapter("")
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        command: Command = json.loads(line)
        print(json.dumps(adapter.answer(command)), flush=True)
        if command["type"] == "shutdown":
            break
    durstream.shutdown()


if __name__ == "__main__":
    main()
