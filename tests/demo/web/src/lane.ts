import { STATUSES, type Shipment } from "./follower";

const CELL = 5;
const STEP = CELL + 1;

/** A service's shipments as cells, one for each, coloured by status. */
export class Lane {
  readonly canvas = document.createElement("canvas");
  readonly #cells: string[];
  #isDrawn = false;

  constructor(shipments: number) {
    this.#cells = new Array<string>(shipments).fill("none");
    this.canvas.setAttribute("role", "img");
    const redraw = () => (this.#isDrawn = false);
    new ResizeObserver(redraw).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  set(key: string, shipment: Shipment | undefined): void {
    // `ship_000001` is the first.
    this.#cells[Number(key.slice(key.indexOf("_") + 1)) - 1] = shipment?.status ?? "removed";
    this.#isDrawn = false;
  }

  draw(): void {
    if (this.#isDrawn) return;
    this.#isDrawn = true;
    const { canvas } = this;
    const counted = ([...STATUSES, "removed"] as const).map((status) => {
      const count = this.#cells.filter((cell) => cell === status).length;
      return `${count} ${status.replace("_", " ")}`;
    });
    canvas.setAttribute("aria-label", counted.join(", "));
    const columns = Math.max(1, Math.floor((canvas.clientWidth + 1) / STEP));
    const height = Math.ceil(this.#cells.length / columns) * STEP - 1;
    canvas.style.height = `${height}px`;
    const scale = devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    if (context === null) return;
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colours = new Map<string, string>();
    this.#cells.forEach((status, index) => {
      const colour = colours.get(status) ?? style.getPropertyValue(`--${status}`);
      colours.set(status, colour);
      context.fillStyle = colour;
      context.fillRect((index % columns) * STEP, Math.floor(index / columns) * STEP, CELL, CELL);
    });
  }
}
