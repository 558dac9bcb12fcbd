import { element, number, say } from "./page";
import { judge, Service } from "./service";
import { Shipments } from "./shipments";
import { readStatus, type Status } from "./status";
import { Story } from "./story";

const ASK_MS = 500;
/** Slow enough to be read, and for eyes that tire of flicker. */
const RENDER_MS = 500;
/** A demo that does not answer so often is over. */
const MOST_UNANSWERED = 3;

const TEXTS = {
  connecting: "Connecting",
  connected: "Connected",
  down: "Server down: reconnecting",
  ended: "The demo has ended",
};
type State = keyof typeof TEXTS;

const shown = {
  connection: element("#connection"),
  received: element("#received"),
  rate: element("#rate"),
  lost: element("#lost"),
  doubled: element("#doubled"),
  rows: element<HTMLTableSectionElement>("#services tbody"),
  pause: element<HTMLButtonElement>("#pause"),
};
const services = new Map<string, Service>();
const shipments = new Shipments();
const story = new Story();
let state: State = "connecting";
let isPaused = false;
let goneAt: number | undefined;
/** By the demo's clock, since the page's own. */
let demoBegan = performance.now();

function secondsNow(): number {
  return (performance.now() - demoBegan) / 1000;
}

function take(status: Status): void {
  demoBegan = performance.now() - status.seconds * 1000;
  for (const each of status.services) {
    let service = services.get(each.title);
    if (service === undefined) {
      service = new Service(each, status);
      services.set(each.title, service);
      shown.rows.append(service.row);
    }
    service.update(each, (changes) => shipments.changed(each.title, changes), connectionChanged);
    story.service(each, status.seconds);
  }
}

/** Down as soon as one stream is, and up again with the last. */
function connectionChanged(): void {
  const connections = [...services.values()].map(({ connection }) => connection);
  if (state === "ended") return;
  if (connections.includes("down")) {
    if (state === "down") return;
    goneAt = secondsNow();
    story.tell(goneAt, "The server is gone. The page reconnects", "bad");
    show("down");
  } else if (connections.includes("up")) {
    if (goneAt !== undefined) {
      const took = (secondsNow() - goneAt).toFixed(1);
      story.tell(secondsNow(), `The server is back after ${took} s`, "good");
      goneAt = undefined;
    }
    show("connected");
  }
}

function show(next: State): void {
  state = next;
  shown.connection.dataset["state"] = next;
  say(shown.connection, TEXTS[next]);
}

function render(): void {
  if (isPaused) return;
  const all = [...services.values()];
  const sum = (of: (service: Service) => number) => all.reduce((total, each) => total + of(each), 0);
  say(shown.received, number(sum(({ received }) => received)));
  say(shown.rate, number(Math.round(sum(({ rate }) => rate.perSecond()))));
  judge(shown.lost, sum(({ status }) => status.lost));
  judge(shown.doubled, sum(({ status }) => status.doubled));
  for (const service of all) service.render();
  shipments.render(all);
}

async function askAgainAndAgain(): Promise<void> {
  for (let unanswered = 0; unanswered < MOST_UNANSWERED; ) {
    const status = await readStatus();
    unanswered = status === undefined ? unanswered + 1 : 0;
    if (status !== undefined) take(status);
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  for (const service of services.values()) service.stop();
  show("ended");
}

shown.pause.addEventListener("click", () => {
  isPaused = !isPaused;
  shown.pause.setAttribute("aria-pressed", String(isPaused));
});
setInterval(render, RENDER_MS);
void askAgainAndAgain();
