import { Follower, type Shipment } from "./follower";
import { Lane } from "./lane";
import { make, number, say } from "./page";
import { Rate } from "./rate";
import type { ServiceStatus, Status } from "./status";
import type { Connection } from "./watched-fetch";

const SVG = "http://www.w3.org/2000/svg";
const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 22;

export interface Changed {
  service: string;
  key: string;
  shipment: Shipment | undefined;
}

/** A service as the page has it: a row, and what follows its stream. */
export class Service {
  readonly title: string;
  readonly shipments = new Map<string, Shipment>();
  readonly rate = new Rate();
  received = 0;
  connection: Connection | undefined;
  status: ServiceStatus;
  readonly row: HTMLTableRowElement;
  readonly #lane: Lane;
  readonly #writes: number;
  readonly #cells = {
    doing: make("span", { class: "doing" }),
    rate: make("span", { class: "value" }),
    spark: document.createElementNS(SVG, "svg"),
    written: make("span"),
    received: make("span"),
    lost: make("span", { class: "verdict" }),
    doubled: make("span", { class: "verdict" }),
  };
  #follower: Follower | undefined;

  constructor(status: ServiceStatus, all: Status) {
    this.title = status.title;
    this.status = status;
    this.#writes = all.writes;
    this.#lane = new Lane(all.shipments);
    const { doing, rate, spark, written, received, lost, doubled } = this.#cells;
    spark.setAttribute("viewBox", `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`);
    spark.setAttribute("aria-hidden", "true");
    const name = make("th", { scope: "row", role: "rowheader" }, this.title, doing);
    const cell = (label: string, ...children: (Node | string)[]) =>
      make("td", { role: "cell", class: "number", "data-label": label }, ...children);
    this.row = make(
      "tr",
      { role: "row", "data-service": this.title },
      name,
      make("td", { role: "cell", class: "lane" }, this.#lane.canvas),
      cell("Events/s", spark, rate),
      cell("Written", written),
      cell("Received", received),
      cell("Lost", lost),
      cell("Doubled", doubled),
    );
  }

  /** Follows the stream once there is one. */
  update(status: ServiceStatus, onChange: (changes: Changed[]) => void, onConnection: () => void) {
    this.status = status;
    if (status.stored === 0 || this.#follower !== undefined) return;
    this.#follower = new Follower(status.stream, {
      changed: (changes) => {
        for (const { key, shipment } of changes) {
          if (shipment === undefined) this.shipments.delete(key);
          else this.shipments.set(key, shipment);
          this.#lane.set(key, shipment);
        }
        onChange(changes.map((change) => ({ service: this.title, ...change })));
      },
      received: (count, isLive) => {
        this.received += count;
        if (isLive) this.rate.add(count);
      },
      connection: (connection) => {
        if (this.connection === connection) return;
        this.connection = connection;
        onConnection();
      },
    });
  }

  stop(): void {
    this.#follower?.stop();
  }

  render(): void {
    const { doing, rate, written, received, lost, doubled } = this.#cells;
    const { status } = this;
    say(doing, this.#doing());
    this.row.dataset["doing"] = status.doing;
    say(rate, number(Math.round(this.rate.perSecond())));
    say(written, number(this.#written()));
    say(received, number(this.received));
    judge(lost, status.lost);
    judge(doubled, status.doubled);
    this.#lane.draw();
    this.#drawSpark();
  }

  /** What was received was written. */
  #written(): number {
    return Math.max(this.status.written, this.received);
  }

  #doing(): string {
    const { doing, run } = this.status;
    if (doing !== "writing") return doing;
    const percent = Math.floor((100 * this.#written()) / this.#writes);
    return `${run === 1 ? "first run" : "started again"}, ${percent} %`;
  }

  #drawSpark(): void {
    const counts = this.rate.history().slice(0, -1);
    const most = usual(counts) * 1.6;
    const width = SPARK_WIDTH / counts.length;
    const bars = counts.map((count, index) => {
      const height = Math.min(1, count / most) * SPARK_HEIGHT;
      const wide = width - 0.5;
      return `M${index * width} ${SPARK_HEIGHT}v${-height}h${wide}v${height}z`;
    });
    let path = this.#cells.spark.querySelector("path");
    if (path === null) {
      path = document.createElementNS(SVG, "path");
      this.#cells.spark.append(path);
    }
    path.setAttribute("d", bars.join(""));
  }
}

/** The median of what is not 0: after an outage all that waited comes at once, and says little. */
function usual(counts: readonly number[]): number {
  const sorted = counts.filter((count) => count > 0).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 1;
}

/** A count that should be 0. */
export function judge(target: HTMLElement, count: number): void {
  say(target, number(count));
  target.dataset["clean"] = String(count === 0);
}
