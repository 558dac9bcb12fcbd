"""The instruments that OpenTelemetry collects, and the spans of batches."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from . import _durstream

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import SpanContext, Tracer, TracerProvider

_log = logging.getLogger("durstream.opentelemetry")
#: What was said already: each once in a process.
_said: Set[str] = set()
#: The providers that have the instruments.
_observed: List[Any] = []

_Observed = Tuple[float, Dict[str, Any]]


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


def trace_batches(tracer_provider: Optional[TracerProvider] = None) -> bool:
    """Makes a span of each settled batch of the producers with the option ``trace``, of kind producer and
    linked to the spans that its writes were made in, with the global tracer provider unless one is given.
    Whether that is so: without OpenTelemetry a warning says so once, and nothing else happens. Of several
    calls the last one counts.
    """
    try:
        from opentelemetry import trace

        tracer = trace.get_tracer("durstream", _durstream.__version__, tracer_provider)
    except (ImportError, AttributeError) as why:
        return _warn_once(f"batches are not traced: OpenTelemetry is not there, or too old ({why})")
    _durstream.set_batch_observer(lambda *batch: _show(tracer, *batch))
    return True


def _show(
    tracer: Tracer,
    name: str,
    started: int,
    ended: int,
    attributes: Dict[str, Any],
    links: List[Tuple[str, Optional[str]]],
    error: Optional[str],
) -> None:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    try:
        span = tracer.start_span(
            name,
            Context(),  # a trace of its own: its writes may be of several
            SpanKind.PRODUCER,
            attributes,
            [Link(_context(*link)) for link in links],
            started,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(ended)
    except Exception as why:  # tracing breaks no write
        _warn_once(f"a batch is not traced: {why!r}")


def _context(traceparent: str, tracestate: Optional[str]) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    _, trace, span, flags = traceparent.split("-")[:4]
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags, 16)), state)


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
        self._all: Mapping[str, List[_Observed]] = {}

    def of(self, instrument: str) -> List[_Observed]:
        """What an instrument observes; of a new snapshot where it has had this one: another collection
        begins."""
        with self._lock:
            if instrument in self._seen or not self._seen:
                self._seen.clear()
                self._all = _durstream.observations()
            self._seen.add(instrument)
            return self._all.get(instrument, [])


def _make(makers: Tuple[Callable[..., Any], Callable[..., Any]], observation: type) -> None:
    shared = _Shared()
    counter, gauge = makers

    def observed(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            try:
                return [observation(value, attributes) for value, attributes in shared.of(name)]
            except Exception as error:  # the SDK goes on with the others
                _warn_once(f"{name} is not observed: {error!r}")
                return []

        return observe

    for name, kind, unit, meaning in _durstream.instruments():
        maker = counter if kind == "counter" else gauge
        maker(name, callbacks=[observed(name)], unit=unit, description=meaning)
