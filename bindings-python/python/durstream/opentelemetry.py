"""Metrics of all producers of this process, and spans of their batches, for OpenTelemetry:
``pip install durstream[opentelemetry]``.

>>> from durstream.opentelemetry import observe, trace_batches
>>> observe()  # with the global meter provider, once
True
>>> trace_batches()  # with the global tracer provider, for producers with the option ``trace``
True

``docs/metrics.md`` says what each instrument means. They are read when the SDK collects, and cost
nothing else.
"""

from __future__ import annotations

from ._opentelemetry import observe as observe, trace_batches as trace_batches

__all__ = ["observe", "trace_batches"]

observe.__module__ = "durstream.opentelemetry"  # as users import it
trace_batches.__module__ = "durstream.opentelemetry"
