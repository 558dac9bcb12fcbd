/** An element that `index.html` has. */
export function element<T extends HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Touches the page only where something else is to be read. */
export function say(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

const grouped = new Intl.NumberFormat("en");

export function number(value: number): string {
  return grouped.format(value);
}
