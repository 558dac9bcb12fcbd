// The conformance suite's adapter for Node: one JSON command per line in, one JSON result per line
// out. It uses the package's public names alone.

import { readFileSync } from "node:fs";
import {
  DeliveryError,
  DurableStream,
  DurstreamError,
  IdempotentProducer,
  shutdown,
} from "../../../../bindings-node/dist/index.mjs";

const PACKAGE = new URL("../../../../bindings-node/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(PACKAGE, "utf8"));

const FEATURES = {
  batching: true,
  retryOptions: true,
  batchItems: true,
  strictZeroValidation: true,
  dynamicHeaders: true,
};

let serverUrl = "";
/** Content types by path, from `create`, `connect` and `head`. */
const types = new Map();
/** Handles by path, for commands without headers and parameters of their own. */
const handles = new Map();
/** Producers by path, id and epoch. */
const producers = new Map();
/** Headers and query parameters whose values change from command to command, by name. */
const dynamic = { headers: new Map(), params: new Map() };
/** What these gave for the command at hand. */
const sent = { headers: new Map(), params: new Map() };
/** Producers opened by name, with the receipts of what they accepted. */
const named = new Map();

/** What the suite calls an error of the library; the others keep their own code. */
const CODES = {
  STREAM_NOT_FOUND: "NOT_FOUND",
  STREAM_EXISTS: "CONFLICT",
  VALIDATION: "INVALID_ARGUMENT",
  INTERNAL: "INTERNAL_ERROR",
};

/** What the suite calls the options of a handle's repeats. */
const RETRY_OPTIONS = {
  maxRetries: "maxRetries",
  initialDelayMs: "retryInitialDelayMs",
  maxDelayMs: "retryMaxDelayMs",
  multiplier: "retryMultiplier",
};

class Unsupported extends Error {}

function codeOf(error, command) {
  if (error instanceof Unsupported) return "NOT_SUPPORTED";
  if (!(error instanceof DurstreamError)) return "INTERNAL_ERROR";
  const { code, status } = error;
  switch (code) {
    case "TRANSPORT":
      return status === undefined ? "NETWORK_ERROR" : "UNEXPECTED_STATUS";
    case "PROTOCOL":
      return status === undefined || status < 400 ? "PARSE_ERROR" : "UNEXPECTED_STATUS";
    case "INVALID_ARGUMENT":
      return command.type === "read" && error.option === "offset" && status === 400
        ? "INVALID_OFFSET"
        : code;
    default:
      return CODES[code] ?? code;
  }
}

function failed(command, error) {
  // A flush reports how many failed; the suite asks why.
  const first = (error instanceof DeliveryError && error.cause) || error;
  return {
    type: "error",
    success: false,
    commandType: command.type,
    status: first.status,
    definite: first.definite,
    errorCode: codeOf(first, command),
    message: inCoreWords(error.message),
  };
}

/** A message with the options in it as our cases spell them: `lingerMs` as `linger_ms`. */
function inCoreWords(message) {
  const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return message.replace(/`[a-z]+([A-Z][a-z]*)+`/g, snakeCase);
}

function notFound(command) {
  return {
    type: "error",
    success: false,
    commandType: command.type,
    status: 404,
    errorCode: "NOT_FOUND",
    message: `there is no stream at ${command.path}`,
  };
}

/** A changing value for this command: the same however often it is asked for. */
function valueNow(values, name, change) {
  if (!values.has(name)) values.set(name, change());
  return values.get(name);
}

function changing({ valueType, initialValue = "" }) {
  let count = 0;
  switch (valueType) {
    case "counter":
      return () => String((count += 1));
    case "timestamp":
      return () => String(Date.now());
    case "token":
      return () => initialValue;
    default:
      throw new Unsupported(`no value of type \`${valueType}\``);
  }
}

/** What was sent of `headers` or `params` under the result's name, if anything was. */
function report(where) {
  return sent[where].size === 0 ? {} : { [`${where}Sent`]: Object.fromEntries(sent[where]) };
}

function placeOf({ path, headers, params }) {
  const asked = [...dynamic.headers].map(([name, change]) => {
    return [name, () => valueNow(sent.headers, name, change)];
  });
  const given = [...dynamic.params].map(([name, change]) => {
    return [name, valueNow(sent.params, name, change)];
  });
  return {
    url: `${serverUrl}${path}`,
    headers: { ...Object.fromEntries(asked), ...headers },
    params: { ...Object.fromEntries(given), ...params },
  };
}

function optionsOf(command) {
  const own = valuesOf(command.streamOptions);
  return { ...placeOf(command), contentType: types.get(command.path), ...own };
}

/** The handle of a path; with headers, parameters or options one for this command. */
function handleOf(command) {
  const { headers, params, streamOptions } = command;
  const own = headers || params || streamOptions || dynamic.headers.size + dynamic.params.size > 0;
  if (own) return new DurableStream(optionsOf(command));
  let handle = handles.get(command.path);
  if (handle === undefined) {
    handle = new DurableStream(optionsOf(command));
    handles.set(command.path, handle);
  }
  return handle;
}

/** Remembers a stream's content type; `undefined` forgets it. */
function learn(path, contentType) {
  if (types.get(path) === contentType) return;
  handles.delete(path);
  if (contentType === undefined) types.delete(path);
  else types.set(path, contentType);
}

function producerOf(command) {
  const { path, producerId, epoch = 0, autoClaim = false, headers } = command;
  const key = JSON.stringify([path, producerId, epoch]);
  let producer = producers.get(key);
  if (producer === undefined) {
    const options = { epoch, autoClaim, maxInFlight: 1, headers };
    producer = new IdempotentProducer(handleOf({ path }), producerId, options);
    producers.set(key, producer);
  }
  return { key, producer };
}

function namedProducer(command) {
  const entry = named.get(command.producer);
  if (entry === undefined) throw new Error(`there is no producer \`${command.producer}\``);
  return entry;
}

function forgetEverything() {
  for (const producer of producers.values()) producer.stop();
  for (const { producer } of named.values()) producer.stop();
  const { headers, params } = dynamic;
  for (const map of [types, handles, producers, named, headers, params]) map.clear();
}

function decoded({ data = "", binary = false }) {
  return binary ? Buffer.from(data, "base64") : data;
}

/** An option's value from its text form. */
function valueOf(text) {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Options with JavaScript's names and values. */
function valuesOf(options = {}) {
  const given = Object.entries(options).map(([name, text]) => [camelCase(name), valueOf(text)]);
  return Object.fromEntries(given);
}

function camelCase(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

function chunkOf(chunk) {
  const { offset } = chunk;
  try {
    return { data: chunk.text(), offset };
  } catch {
    return { data: Buffer.from(chunk.data).toString("base64"), binary: true, offset };
  }
}

/** The options of a `validate` target under the names they have here; absent ones stay absent. */
function renamed(target, names) {
  const given = Object.entries(names).filter(([theirs]) => theirs in target);
  return Object.fromEntries(given.map(([theirs, ours]) => [ours, target[theirs]]));
}

function validate({ target }) {
  const url = "http://localhost/v1/stream/validate";
  switch (target.target) {
    case "retry-options":
      return new DurableStream({ url, ...renamed(target, RETRY_OPTIONS) });
    case "idempotent-producer": {
      const { producerId = "validate", epoch, maxBatchBytes, maxBatchItems } = target;
      const options = { epoch, maxBatchBytes, maxBatchItems };
      return new IdempotentProducer(new DurableStream({ url }), producerId, options).stop();
    }
    default:
      throw new Unsupported(`nothing to validate under \`${target.target}\``);
  }
}

/** The message with the option as the command spells it. */
function inTheirWords(error) {
  const pair = Object.entries(RETRY_OPTIONS).find(([, ours]) => ours === error.option);
  return pair ? error.message.replaceAll(`\`${pair[1]}\``, `\`${pair[0]}\``) : error.message;
}

const COMMANDS = {
  async init(command) {
    forgetEverything();
    serverUrl = command.serverUrl;
    return { clientName: "durstream-node", clientVersion: version, features: FEATURES };
  },

  async create(command) {
    const { path, contentType, ttlSeconds, expiresAt, closed, data } = command;
    const { exists } = await DurableStream.head(placeOf(command));
    const lifetime = { ttlSeconds, expiresAt };
    const options = { ...placeOf(command), contentType, ...lifetime, closed, body: data };
    const handle = await DurableStream.create(options);
    handles.delete(path);
    learn(path, handle.contentType);
    return { status: exists ? 200 : 201 };
  },

  async connect(command) {
    const handle = await DurableStream.connect(placeOf(command));
    const head = await handle.head();
    if (!head.exists) return notFound(command);
    learn(command.path, head.contentType);
    return { status: 200, offset: head.offset };
  },

  async append(command) {
    const { seq } = command;
    const options = seq === undefined ? {} : { seq: String(seq) };
    const outcome = await handleOf(command).append(decoded(command), options);
    return { status: 200, offset: outcome.offset, duplicate: outcome.duplicate };
  },

  async "append-stream"(command) {
    return { ...(await handleOf(command).appendStream(command.items)) };
  },

  async close(command) {
    const { path, data, contentType } = command;
    // A handle of its own: one that closed already would answer with its first result.
    const options = optionsOf(command);
    const handle = new DurableStream({ ...options, contentType: contentType ?? types.get(path) });
    const { finalOffset } = await handle.close({ body: data });
    return { status: 200, finalOffset };
  },

  async head(command) {
    const head = await DurableStream.head(placeOf(command));
    if (!head.exists) return notFound(command);
    const { exists, ...fields } = head;
    learn(command.path, head.contentType);
    return { status: 200, ...fields };
  },

  async delete(command) {
    await DurableStream.delete(placeOf(command));
    handles.delete(command.path);
    learn(command.path, undefined);
    return { status: 200 };
  },

  async read(command) {
    if (command.live) throw new Unsupported("live reads are not supported");
    const reader = handleOf(command).read({ offset: command.offset });
    const chunks = [];
    for await (const chunk of reader) chunks.push(chunkOf(chunk));
    const { offset, upToDate, streamClosed } = reader;
    return { status: 200, chunks, offset, upToDate, streamClosed };
  },

  async "idempotent-append"(command) {
    const { producer } = producerOf(command);
    const { completion } = producer.append(command.data);
    await producer.flush();
    const { offset, duplicate } = await completion;
    return { status: 200, offset, duplicate };
  },

  async "idempotent-append-batch"(command) {
    const { path, items, producerId, headers } = command;
    const { epoch = 0, autoClaim = false, maxInFlight = 1 } = command;
    const cut = maxInFlight > 1 ? { maxBatchBytes: 1 } : { lingerMs: 1000 };
    const options = { epoch, autoClaim, maxInFlight, headers, ...cut };
    const producer = new IdempotentProducer(handleOf({ path }), producerId, options);
    try {
      producer.appendMany(items);
      await producer.flush();
    } finally {
      await producer.detach();
    }
    return { status: 200 };
  },

  async "idempotent-close"(command) {
    const { finalOffset } = await producerOf(command).producer.close(command.data);
    return { status: 200, finalOffset };
  },

  async "idempotent-detach"(command) {
    const { key, producer } = producerOf(command);
    producers.delete(key);
    await producer.detach();
    return { status: 200 };
  },

  async "producer-open"({ as, path, producerId, options, headers, params }) {
    const all = { ...valuesOf(options), headers, params };
    const producer = new IdempotentProducer(handleOf({ path }), producerId, all);
    named.set(as, { producer, receipts: [] });
    return {};
  },

  async "producer-append"(command) {
    const { producer, receipts } = namedProducer(command);
    const refused = [];
    const tried = command.items.map((item) => producer.tryAppend(item));
    for (const [index, receipt] of tried.entries()) {
      if (receipt.accepted) receipts.push(receipt);
      else refused.push({ index, errorCode: codeOf(receipt.refusal.error, command) });
    }
    return { accepted: tried.length - refused.length, refused };
  },

  async "producer-flush"(command) {
    return namedProducer(command).producer.flush();
  },

  async "producer-close"(command) {
    const { finalOffset } = await namedProducer(command).producer.close(command.data);
    return { finalOffset };
  },

  async "producer-detach"(command) {
    return namedProducer(command).producer.detach();
  },

  async "producer-outcomes"(command) {
    const { receipts } = namedProducer(command);
    const outcomes = await Promise.all(receipts.map(({ completion }) => completion));
    return {
      outcomes: outcomes.map(({ status, reason, duplicate, maybeDuplicate }) => ({
        status,
        reason,
        ...(duplicate && { duplicate }),
        ...(maybeDuplicate && { maybeDuplicate }),
      })),
    };
  },

  async "set-dynamic-header"(command) {
    dynamic.headers.set(command.name, changing(command));
    return {};
  },

  async "set-dynamic-param"(command) {
    dynamic.params.set(command.name, changing(command));
    return {};
  },

  async "clear-dynamic"() {
    dynamic.headers.clear();
    dynamic.params.clear();
    return {};
  },

  async validate(command) {
    try {
      validate(command);
    } catch (error) {
      return { ...failed(command, error), message: inTheirWords(error) };
    }
    return {};
  },

  async shutdown() {
    return {};
  },
};

async function resultOf(command) {
  sent.headers.clear();
  sent.params.clear();
  try {
    if (!Object.hasOwn(COMMANDS, command.type)) {
      throw new Unsupported(`there is no command \`${command.type}\``);
    }
    const result = await COMMANDS[command.type](command);
    return { type: command.type, success: true, ...report("headers"), ...report("params"), ...result };
  } catch (error) {
    return failed(command, error);
  }
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return { type: "unreadable" };
  }
}

/** The lines of standard input. Only a newline ends one: data may have U+2028 in it. */
async function* lines() {
  let rest = "";
  process.stdin.setEncoding("utf8");
  for await (const part of process.stdin) {
    const pieces = part.split("\n");
    pieces[0] = rest + pieces[0];
    rest = pieces.pop();
    yield* pieces;
  }
  yield rest;
}

function answer(result) {
  const text = JSON.stringify(result)
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
  return new Promise((resolve) => process.stdout.write(`${text}\n`, resolve));
}

for await (const line of lines()) {
  if (line.trim() === "") continue;
  const command = parsed(line);
  await answer(await resultOf(command));
  if (command.type === "shutdown") break;
}
await shutdown();
process.exit(0);
