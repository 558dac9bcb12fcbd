// Two sources while no producer has more than the room of its own.
import { DurableStream, setBufferBudget } from "durstream";

const [, , url] = process.argv;
setBufferBudget(0);
const handle = await DurableStream.create({ url: url as string, contentType: "text/plain" });
const pages = Array.from({ length: 20 }, (_, n) => String(n % 10).repeat(400_000));
const first = await handle.appendStream(pages);
const second = await handle.appendStream(pages);
console.log(first.delivered, second.delivered);
