/** `up` as long as the server answers. */
export type Connection = "up" | "down";

/**
 * A `fetch` that tells how the server is. An event stream that is cut ends quietly: then its reader asks
 * again from the last offset, where it would give up on an error.
 */
export function watchedFetch(tell: (connection: Connection) => void): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    tell(response.ok ? "up" : "down");
    const type = response.headers.get("content-type") ?? "";
    if (response.body === null || !type.startsWith("text/event-stream")) return response;
    return new Response(endingQuietly(response.body), response);
  };
}

function endingQuietly(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch {
        controller.close();
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
