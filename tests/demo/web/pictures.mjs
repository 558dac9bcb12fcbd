// Takes pictures of the board into a folder: wide and narrow, light and dark, and while the server is down.

import { mkdir } from "node:fs/promises";
import path from "node:path";

import { launch, NARROW, open } from "./browser.mjs";

const folder = process.argv[2];
const WIDE = { width: 1200, height: 1370 };
const LONG_MS = 120_000;

await mkdir(folder, { recursive: true });
const browser = await launch();
const page = await browser.newPage({ viewport: WIDE, colorScheme: "light" });
await open(page);
await reaches(page, "down");
await page.waitForTimeout(1500);
await take(page, "down");
await reaches(page, "connected");
// Half of the shipments are delivered.
await page.waitForFunction(
  () => {
    const texts = Array.from(document.querySelectorAll("#services .doing"), (each) => each.textContent);
    return texts.some((text) => Number(/again, (\d+)/.exec(text)?.[1]) >= 70);
  },
  undefined,
  { timeout: LONG_MS },
);
await take(page, "light");
await page.emulateMedia({ colorScheme: "dark" });
await take(page, "dark");
await page.setViewportSize(NARROW);
await take(page, "narrow-dark");
await page.emulateMedia({ colorScheme: "light" });
await take(page, "narrow-light");
await browser.close();

function reaches(page, state) {
  return page.waitForSelector(`#connection[data-state="${state}"]`, { timeout: LONG_MS });
}

/** Takes a picture once the page was drawn anew. */
async function take(page, name) {
  await page.waitForTimeout(1200);
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}
