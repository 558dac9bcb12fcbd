// What the document's blocks leave undeclared: Node has no `unload` event.

const listeners: (() => Promise<void>)[] = [];

export function addEventListener(_: 'unload', listener: () => Promise<void>): void {
  listeners.push(listener);
}

export async function unload(): Promise<void> {
  await Promise.all(listeners.map((listener) => listener()));
}
