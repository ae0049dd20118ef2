import { describeOn } from '../../servers/describe.ts';
import type { ServerName } from '../../servers/types.ts';
import type { Later } from './processes.ts';
import { storeWorlds, type StoreWorld } from './store-worlds.ts';

/** The same tests on every store beyond one machine, on every server; the servers side by side. */
export function describeOnEach(
  title: string,
  tests: (open: (later: Later) => Promise<StoreWorld>, server: ServerName) => void,
): void {
  for (const [server, place, open] of storeWorlds) {
    describeOn(server, `${title} on ${place}`, (running) => tests((later) => open(running, later), server), {
      concurrent: true,
    });
  }
}
