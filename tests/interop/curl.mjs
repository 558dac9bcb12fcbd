// Reading a stream with curl, as PROTOCOL.md tells it: from each answer to the next offset.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const MOST_BYTES = 256 * 1024 * 1024;

/** Everything in a JSON stream. */
export async function curl(url) {
  const messages = [];
  let offset = "-1";
  for (;;) {
    const { headers, body } = await get(`${url}?offset=${encodeURIComponent(offset)}`);
    // A stream that is read to its end has no body any more, or an empty array.
    if (body !== "") messages.push(...JSON.parse(body));
    const next = headers.get("stream-next-offset");
    assert.ok(next, "an answer says where the next one begins");
    if (headers.get("stream-up-to-date") === "true") return messages;
    assert.notEqual(next, offset, "each answer leads on");
    offset = next;
  }
}

async function get(url) {
  const args = ["--silent", "--show-error", "--fail", "--include", "--max-time", "60", url];
  const { stdout } = await promisify(execFile)("curl", args, { maxBuffer: MOST_BYTES });
  const end = stdout.indexOf("\r\n\r\n");
  const lines = stdout.slice(0, end).split("\r\n").slice(1);
  const pairs = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { headers: new Map(pairs), body: stdout.slice(end + 4) };
}
