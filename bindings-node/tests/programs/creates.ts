// Creates the stream named, and says so, or why not.

import { DurableStream } from "durstream";

const options = { url: process.argv[2]!, contentType: "text/plain", maxRetries: 0 };
await DurableStream.create(options).then(
  () => console.log("created"),
  (error: Error) => console.log(error.message),
);
