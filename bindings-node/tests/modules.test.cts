// CommonJS with types.

import assert = require("node:assert/strict");
import { test } from "node:test";

import durstream = require("durstream");

import testing = require("durstream/testing");

test("require gives the recorder", () => {
  const recorder: testing.Recorder = new testing.Recorder();
  assert.deepEqual(recorder.events("/a"), []);
});

test("require gives typed classes", () => {
  const handle: durstream.DurableStream = new durstream.DurableStream({
    url: "http://127.0.0.1:9/a",
    contentType: "text/plain",
  });
  assert.equal(handle.url, "http://127.0.0.1:9/a");
  assert.equal(handle.contentType, "text/plain");
});
