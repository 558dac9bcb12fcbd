import { element, make, number } from "./page";
import type { ServiceStatus } from "./status";

const MOST_LINES = 30;

/** What happened, the newest first. */
export class Story {
  readonly #list = element<HTMLOListElement>("#story");
  readonly #steps = new Map<string, string>();

  /** Tells of a step that a service took. */
  service({ title, doing, run, settled }: ServiceStatus, seconds: number): void {
    const step = `${doing} ${run}`;
    const before = this.#steps.get(title);
    this.#steps.set(title, step);
    if (before === undefined || before === step) return;
    const writes = `${number(settled)} writes`;
    if (doing === "failed") this.tell(seconds, `${title} failed`, "bad");
    else if (doing === "finished") this.tell(seconds, `${title} finished, ${writes} delivered`);
    else this.tell(seconds, `${title} started again after ${writes}`);
  }

  tell(seconds: number, text: string, kind = "plain"): void {
    const minutes = Math.floor(seconds / 60);
    const rest = String(Math.floor(seconds % 60)).padStart(2, "0");
    const time = make("time", {}, `${minutes}:${rest}`);
    this.#list.prepend(make("li", { "data-kind": kind }, time, " ", text));
    while (this.#list.children.length > MOST_LINES) this.#list.lastElementChild?.remove();
  }
}
