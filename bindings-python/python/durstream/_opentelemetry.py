"""The instruments that OpenTelemetry collects."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple
from urllib.parse import urlsplit

from . import _durstream

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

_log = logging.getLogger("durstream.opentelemetry")
_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
#: What was said already: each once in a process.
_said: Set[str] = set()
#: The providers that have the instruments.
_observed: List[Any] = []

_Attributes = Dict[str, Any]
_Values = Iterable[Tuple[float, _Attributes]]


def observe(meter_provider: Optional[MeterProvider] = None) -> bool:
    """Makes the instruments of all producers of this process, with the global meter provider unless one
    is given. Whether they are there: without OpenTelemetry, or with one that is too old, a warning says
    so once, and nothing else happens. A second call with the same provider changes nothing.
    """
    try:
        from opentelemetry import metrics
        from opentelemetry.metrics import Observation

        provider = meter_provider or metrics.get_meter_provider()
        if any(provider is known for known in _observed):
            return True
        meter = provider.get_meter("durstream", _durstream.__version__)
        makers = meter.create_observable_counter, meter.create_observable_gauge
    except (ImportError, AttributeError) as why:
        return _warn_once(f"producers are not observed: OpenTelemetry is not there, or too old ({why})")
    _observed.append(provider)
    _make(makers, Observation)
    return True


def _warn_once(text: str) -> bool:
    if text not in _said:
        _said.add(text)
        _log.warning(text)
    return False


class _Shared:
    """One snapshot of all producers for all instruments of one collection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Set[str] = set()
        self._all: List[Tuple[_Attributes, str, Mapping[str, Any]]] = []

    def snapshot(self, instrument: str) -> List[Tuple[_Attributes, str, Mapping[str, Any]]]:
        """The snapshot, a new one where this instrument has had it: another collection begins."""
        with self._lock:
            if instrument in self._seen or not self._seen:
                self._seen.clear()
                self._all = [
                    (_attributes(stream, id), state, stats)
                    for stream, id, state, stats in _durstream.all_stats()
                ]
            self._seen.add(instrument)
            return self._all


def _attributes(stream: str, producer_id: str) -> _Attributes:
    url = urlsplit(stream)
    attributes: _Attributes = {
        "messaging.system": "durable_streams",
        "messaging.destination.name": url.path,
        "messaging.client.id": producer_id,
        "server.address": url.hostname or "",
    }
    if url.port is not None:
        attributes["server.port"] = url.port
    return attributes


def _make(makers: Tuple[Callable[..., Any], Callable[..., Any]], observation: type) -> None:
    shared = _Shared()
    counter, gauge = makers

    def make(
        maker: Callable[..., Any],
        name: str,
        unit: str,
        meaning: str,
        values: Callable[[str, Mapping[str, Any]], _Values],
    ) -> None:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            try:
                return [
                    observation(value, {**attributes, **own})
                    for attributes, state, stats in shared.snapshot(name)
                    for value, own in values(state, stats)
                ]
            except Exception as error:  # the SDK goes on with the others
                _warn_once(f"{name} is not observed: {error!r}")
                return []

        maker(name, callbacks=[observed], unit=unit, description=meaning)

    def number(fields: List[Tuple[str, _Attributes]], divisor: int) -> Callable[..., _Values]:
        return lambda _, stats: [(_scaled(stats[name], divisor), own) for name, own in fields]

    def of(name: str, field: str, divisor: int) -> Callable[..., _Values]:
        return lambda _, stats: [(_scaled(stats[name][field], divisor), {})]

    def quantiles(name: str, divisor: int) -> Callable[..., _Values]:
        return lambda _, stats: [
            (_scaled(stats[name][field], divisor), {"quantile": quantile})
            for field, quantile in _QUANTILES
            if stats[name]["count"] > 0
        ]

    fields: Dict[str, List[Tuple[str, _Attributes]]] = {}
    for instrument, kind, name, unit, meaning, attribute, divisor in _durstream.instruments():
        if kind == "distribution":
            make(counter, f"{instrument}.count", "{measurement}", meaning, of(name, "count", 1))
            make(counter, f"{instrument}.sum", unit, meaning, of(name, "sum", divisor))
            make(gauge, instrument, unit, meaning, quantiles(name, divisor))
            continue
        own = fields.setdefault(instrument, [])
        own.append((name, dict([attribute]) if attribute is not None else {}))
        if len(own) > 1:
            continue  # one instrument for all of its name
        if instrument == "messaging.client.sent.messages":
            make(counter, instrument, "{message}", meaning, _sent)
        else:
            maker = counter if kind == "counter" else gauge
            make(maker, instrument, unit, meaning, number(own, divisor))
    make(gauge, "durstream.state", "1", "The state that a producer is in is 1.", _state)


def _scaled(value: int, divisor: int) -> float:
    return value if divisor == 1 else value / divisor


def _sent(_: str, stats: Mapping[str, Any]) -> _Values:
    """Delivered writes, and those that were not by the reason."""
    sending = {"messaging.operation.name": "append", "messaging.operation.type": "send"}
    yield stats["delivered"], sending
    for reason, count in stats["undelivered"].items():
        yield count, {**sending, "error.type": reason}


def _state(state: str, _: Mapping[str, Any]) -> _Values:
    yield 1, {"state": state}
