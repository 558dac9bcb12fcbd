"""The context of the trace that a call belongs to, as OpenTelemetry has it."""

from __future__ import annotations

import sys

from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import List, Tuple

_is_said = False


def current() -> List[Tuple[str, str]]:
    """The context as headers; none where no span is the current one. What is traced has imported
    OpenTelemetry: nothing is imported here.
    """
    # Missing also while another thread still loads it.
    span = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if span is None:
        return []
    try:
        context = span().get_span_context()
        if not context.is_valid:
            return []
        ids = f"{context.trace_id:032x}-{context.span_id:016x}"
        pairs = [("traceparent", f"00-{ids}-{int(context.trace_flags) & 0xFF:02x}")]
        state = context.trace_state.to_header()
        return [*pairs, ("tracestate", state)] if state else pairs
    except Exception as error:  # tracing breaks no write
        global _is_said
        if not _is_said:
            _is_said = True
            import logging  # OpenTelemetry has loaded it

            logging.getLogger("durstream").warning("events go without a `traceparent`: %r", error)
        return []
