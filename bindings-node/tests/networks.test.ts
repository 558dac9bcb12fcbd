// TLS and proxies: what options and the environment say of them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  TransportError,
  type DurableStreamOptions,
} from "durstream";
import { base, freshPath, rejectionOf, run } from "./support.ts";

interface Front {
  /** A server with TLS. */
  readonly url: string;
  /** One that wants a client certificate as well. */
  readonly mutual: string;
  readonly proxy: string;
  readonly folder: string;
}

async function front(t: TestContext): Promise<Front> {
  const folder = mkdtempSync(join(tmpdir(), "durstream-"));
  const name = `durstream-front${process.platform === "win32" ? ".exe" : ""}`;
  const program = `${process.env.DURSTREAM_TARGET}/release/${name}`;
  const command = ["--upstream", base as string, folder];
  const child = spawn(program, command, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => {
    child.stdin.end();
    rmSync(folder, { recursive: true });
  });
  const { value: line } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  return { ...(JSON.parse(line) as Omit<Front, "folder">), folder };
}

/** Writes to a stream of its own. */
async function write(place: string, options: DurableStreamOptions): Promise<void> {
  const url = `${place}/v1/stream${freshPath("tls")}`;
  const whole = { url, contentType: "text/plain", maxRetries: 0, ...options };
  const stream = await DurableStream.create(whole);
  const producer = new IdempotentProducer(stream, "p");
  producer.append("x");
  assert.equal((await producer.flush()).delivered, 1);
  await producer.detach();
}

test("certificates and a proxy are options", async (t) => {
  const { url, mutual, proxy, folder } = await front(t);
  const caPem = join(folder, "ca.pem");
  await write(url, { caPem: readFileSync(caPem, "utf8") });
  const clientCertPem = join(folder, "client.pem");
  await write(mutual, { caPem, clientCertPem, clientKeyPem: join(folder, "client.key") });
  await write(url, { caPem, proxy });
});

test("what is wrong is named", async (t) => {
  const { mutual, proxy, folder } = await front(t);
  const caPem = join(folder, "ca.pem");
  const unknown = await rejectionOf(write(mutual, {}));
  assert.ok(unknown instanceof TransportError);
  assert.match(unknown.message, /nobody who is trusted here.*`caPem`/);
  assert.deepEqual([unknown.retryable, unknown.definite], [false, true]);
  const wanted = await rejectionOf(write(mutual, { caPem }));
  assert.match(wanted.message, /the server wants a client certificate/);
  const wrong = { caPem, proxy: proxy.replace("p%40ss", "s3cret") };
  const kept = await rejectionOf(write(mutual, wrong));
  assert.match(kept.message, /does not accept the user and password/);
  assert.doesNotMatch(`${kept.message} ${kept.stack}`, /s3cret/);
  const keyless = { clientCertPem: join(folder, "client.pem") };
  const refused = await rejectionOf(write(mutual, keyless));
  assert.ok(refused instanceof InvalidArgumentError);
  assert.match(refused.message, /no private key/);
  assert.equal(refused.option, "clientKeyPem");
});

test("NODE_EXTRA_CA_CERTS counts beside the system's authorities", async (t) => {
  const { url, folder } = await front(t);
  const place = `${url}/v1/stream${freshPath("tls")}`;
  const environment = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
  assert.equal((await run("creates", [place], environment)).stdout, "created\n");
  const without = await run("creates", [place], { NODE_EXTRA_CA_CERTS: "" });
  assert.match(without.stdout, /nobody who is trusted here/);
});
