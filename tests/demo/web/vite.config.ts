import { createReadStream } from "node:fs";

import { defineConfig, type Plugin } from "vite";

import { SERVER_PATH, STATUS_PATH } from "./src/paths.ts";

/** Hands on what the demo tells of its services: a file that it writes anew all the time. */
function status(): Plugin {
  return {
    name: "status",
    configurePreviewServer({ middlewares }) {
      middlewares.use(STATUS_PATH, (_, response) => {
        response.setHeader("content-type", "application/json");
        response.setHeader("cache-control", "no-store");
        const file = createReadStream(process.env["BOARD_STATUS"] ?? "");
        file.on("error", () => response.writeHead(503).end()).pipe(response);
      });
    },
  };
}

export default defineConfig({
  base: "./",
  build: { target: "es2022", emptyOutDir: true },
  plugins: [status()],
  preview: {
    // The server sends no headers that would let a page of another origin read from it.
    proxy: {
      [SERVER_PATH]: {
        target: process.env["DURABLE_STREAMS_URL"] ?? "",
        configure(proxy) {
          // A server that dies leaves its answer open otherwise, and the page believes it alive.
          proxy.on("proxyRes", (answer, _, response) => {
            answer.on("close", () => {
              if (!answer.complete) response.destroy();
            });
          });
        },
      },
    },
  },
});
