/** What the set-up found, for the reporter: both run in the same process, in module graphs of their own. */

const place = Symbol.for('keyturn.test.servers');

export function keepServerLines(lines: readonly string[]): void {
  Reflect.set(globalThis, place, lines);
}

/** One line for each server: used, or skipped with the command that brings it. */
export function serverLines(): readonly string[] {
  return (Reflect.get(globalThis, place) as readonly string[] | undefined) ?? [];
}
