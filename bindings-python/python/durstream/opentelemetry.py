"""Metrics of all producers of this process for OpenTelemetry: ``pip install durstream[opentelemetry]``.

>>> from durstream.opentelemetry import observe
>>> observe()  # with the global meter provider, once
True

``docs/metrics.md`` says what each instrument means. They are read when the SDK collects, and cost
nothing else.
"""

from __future__ import annotations

from ._opentelemetry import observe as observe

__all__ = ["observe"]

observe.__module__ = "durstream.opentelemetry"  # as users import it
