// The board in a browser, while the demo goes on beside it: what does somebody see who looks at it?
// The tests follow each other on one page.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { MaterializedState } from "@durable-streams/state";

import { launch, NARROW, open, setting, WIDE } from "./browser.mjs";

/** What is too long for any machine: nobody is measured by it. */
const LIMIT_MS = 60_000;
const server = setting("DURABLE_STREAMS_URL");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let browser;
let page;
const complaints = [];

before(async () => {
  browser = await launch();
  page = await browser.newPage({ viewport: WIDE, colorScheme: "light" });
  page.setDefaultTimeout(LIMIT_MS);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.addInitScript(() => {
    globalThis.states = [];
    addEventListener("DOMContentLoaded", () => {
      const pill = document.querySelector("#connection");
      const received = document.querySelector("#received");
      const note = () => globalThis.states.push([pill.textContent, received.textContent]);
      new MutationObserver(note).observe(pill, { childList: true });
    });
  });
  await open(page);
});

after(() => browser?.close());

test("a paused page stands still, and goes on", async () => {
  await page.waitForSelector('#connection[data-state="connected"]');
  await receivesMoreThan("0");
  await page.click("#pause");
  const figure = await text("#received");
  // Much has arrived by then.
  await page.locator("#story li", { hasText: "started again" }).first().waitFor();
  assert.equal(await text("#received"), figure);
  await page.click("#pause");
  await receivesMoreThan(figure);
});

test("a server that was killed is seen to be down, and rows go on when it is back", async () => {
  await page.locator("#story li", { hasText: "The server is back" }).waitFor();
  const states = await page.evaluate(() => globalThis.states);
  const texts = states.map(([state]) => state);
  assert.deepEqual(texts, ["Connected", "Server down: reconnecting", "Connected"]);
  const [, [, receivedBefore]] = states;
  await receivesMoreThan(receivedBefore);
});

test("every service is seen to start again and to finish, and nothing is lost or doubled", async () => {
  const { services, writes } = await finished();
  for (const { title } of services) {
    await page.locator("#story li", { hasText: `${title} started again` }).waitFor();
    await page.locator("#story li", { hasText: `${title} finished` }).waitFor();
  }
  const seen = services.map(({ title }) => [title, "finished", `${writes}`, `${writes}`, "0", "0"]);
  await becomes(() => page.evaluate(serviceRows), seen);
  const all = (writes * services.length).toLocaleString("en");
  assert.deepEqual(
    await Promise.all(["#received", "#lost", "#doubled"].map(text)),
    [all, "0", "0"],
  );
});

test("the rows are what a reader of the streams has", async () => {
  const { services } = await status();
  const expected = (await Promise.all(services.map(stateOf))).flat();
  assert.ok(expected.length > 0);
  await page.click("#all");
  await becomes(() => page.evaluate(shipmentRows), expected);
  await page.click("#all");
  await becomes(async () => (await page.evaluate(shipmentRows)).length, 2 * services.length);
});

test("it fits a phone, takes the scheme of the system, and axe finds nothing", async () => {
  await page.addScriptTag({ path: axe });
  const backs = new Set();
  for (const viewport of [WIDE, NARROW, { width: 320, height: 640 }]) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const [wide, back] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        getComputedStyle(document.body).backgroundColor,
      ]);
      assert.ok(wide <= viewport.width, `${wide} of ${viewport.width} pixels`);
      assert.equal(luminance(back) < 0.5, colorScheme === "dark", back);
      backs.add(back);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`);
      assert.deepEqual(found, [], `${viewport.width} ${colorScheme}`);
    }
  }
  assert.equal(backs.size, 2);
});

test("the page complains of nothing but of the server that was gone", () => {
  const isOfTheOutage = (complaint) => complaint.startsWith("Failed to load resource: ");
  assert.deepEqual(complaints.filter((complaint) => !isOfTheOutage(complaint)), []);
});

async function status() {
  const response = await fetch(new URL("status.json", page.url()));
  return response.json();
}

/** The status once every stream was read behind its last write. */
async function finished() {
  await page.waitForFunction(async () => {
    const { services, writes } = await (await fetch("status.json")).json();
    return services.every(({ doing, stored, lost }) => {
      return doing === "finished" && stored + lost >= writes;
    });
  });
  return status();
}

/** What a service's shipments are for a reader with somebody else's library. */
async function stateOf({ title, stream }) {
  const response = await fetch(`${server}/v1/stream${stream}?offset=-1`);
  assert.equal(response.headers.get("stream-up-to-date"), "true");
  const state = new MaterializedState();
  state.applyBatch(await response.json());
  const shipments = Array.from(state.getType("shipment").values());
  return shipments.map(({ id, orderId, status }) => [id, orderId, title, status.replace("_", " ")]);
}

function text(selector) {
  return page.textContent(selector);
}

function receivesMoreThan(figure) {
  return page.waitForFunction((before) => {
    const count = (shown) => Number(shown.replaceAll(",", ""));
    return count(document.querySelector("#received").textContent) > count(before);
  }, figure);
}

/** Looks until what is expected is seen; the difference where it never is. */
async function becomes(look, expected) {
  const seen = JSON.stringify(expected);
  for (let left = 50; left > 0; left -= 1) {
    if (JSON.stringify(await look()) === seen) return;
    await page.waitForTimeout(200);
  }
  assert.deepEqual(await look(), expected);
}

function serviceRows() {
  const rows = document.querySelectorAll("#services tbody tr");
  return Array.from(rows, (row) => {
    const cell = (label) => row.querySelector(`[data-label="${label}"]`).textContent;
    const counts = ["Written", "Received", "Lost", "Doubled"].map(cell);
    return [row.dataset.service, row.querySelector(".doing").textContent, ...counts];
  });
}

function shipmentRows() {
  const rows = document.querySelectorAll("#shipments tbody tr");
  return Array.from(rows, (row) => Array.from(row.cells, ({ textContent }) => textContent));
}

function luminance(colour) {
  const [red, green, blue] = colour.match(/\d+/g).map((part) => Number(part) / 255);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
