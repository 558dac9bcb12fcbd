import type { Shipment } from "./follower";
import { element, make, say } from "./page";
import type { Changed, Service } from "./service";

/** So many of each service. */
const LATEST = 2;

/** The table of shipments: those that changed last, or all there are. */
export class Shipments {
  readonly #title = element("#shipments-title");
  readonly #body = element<HTMLTableSectionElement>("#shipments tbody");
  readonly #all = element<HTMLButtonElement>("#all");
  readonly #rows = new Map<string, HTMLTableRowElement>();
  readonly #latest = new Map<string, Changed[]>();
  #showsAll = false;

  constructor() {
    this.#all.addEventListener("click", () => {
      this.#showsAll = !this.#showsAll;
      this.#all.setAttribute("aria-pressed", String(this.#showsAll));
      this.#rows.clear();
      this.#body.replaceChildren();
    });
  }

  changed(service: string, changes: Changed[]): void {
    const before = this.#latest.get(service) ?? [];
    this.#latest.set(service, [...before, ...changes].slice(-LATEST));
  }

  render(services: Iterable<Service>): void {
    say(this.#title, this.#showsAll ? "All shipments" : "Latest changes");
    if (this.#showsAll) return this.#renderAll(services);
    const latest = Array.from(services, ({ title }) => this.#latest.get(title) ?? []);
    this.#body.replaceChildren(...latest.flat().map(rowOf));
  }

  /** Rows stay where they are as long as their shipments do. */
  #renderAll(services: Iterable<Service>): void {
    const gone = new Set(this.#rows.keys());
    for (const { title, shipments } of services) {
      for (const [key, shipment] of shipments) {
        const place = `${title}/${key}`;
        gone.delete(place);
        const row = this.#rows.get(place);
        if (row !== undefined) {
          setStatus(row, shipment);
          continue;
        }
        const made = rowOf({ service: title, key, shipment });
        this.#rows.set(place, made);
        this.#body.append(made);
      }
    }
    for (const place of gone) {
      this.#rows.get(place)?.remove();
      this.#rows.delete(place);
    }
  }
}

function rowOf({ service, key, shipment }: Changed): HTMLTableRowElement {
  const row = make(
    "tr",
    {},
    make("td", {}, key),
    make("td", {}, shipment?.orderId ?? "–"),
    make("td", {}, service),
    make("td", {}, make("span", { class: "status" })),
  );
  setStatus(row, shipment);
  return row;
}

function setStatus(row: HTMLTableRowElement, shipment: Shipment | undefined): void {
  const status = shipment?.status ?? "removed";
  const shown = row.querySelector<HTMLElement>(".status");
  if (shown === null || shown.dataset["status"] === status) return;
  shown.dataset["status"] = status;
  say(shown, status.replace("_", " "));
}
