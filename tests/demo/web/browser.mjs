// The installed Chromium, on the board.

import { writeFileSync } from "node:fs";

import { chromium } from "playwright-core";

export const WIDE = { width: 1440, height: 1000 };
export const NARROW = { width: 390, height: 844 };

export function launch() {
  return chromium.launch({ executablePath: setting("BOARD_CHROMIUM") });
}

/** Shows the board on a page; the services wait for that. */
export async function open(page) {
  await page.goto(setting("BOARD_URL"));
  writeFileSync(setting("BOARD_OPEN"), "");
}

export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`cargo xtask demo --web\` sets it`);
  return value;
}
