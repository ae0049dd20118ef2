import { kinds } from './kinds.ts';
import { down, find, up } from './running.ts';
import type { ServerKind } from './types.ts';

/**
 * `npm run servers -- up|down|status [NAME…]`: the servers that the stores are tested on. Each is looked for in this order:
 * an address in the environment, an install in `.servers`, the folder of KEYTURN_TEST_SERVERS, a package registry, docker
 * compose.
 */

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const verbs: Readonly<Record<string, (kind: ServerKind) => Promise<boolean>>> = {
  async up(kind) {
    try {
      const { name, version, address } = await up(kind, say);
      say(`${name}: up, ${version}, ${address}`);
      return true;
    } catch (error) {
      say(`${kind.name}: not up: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  },
  async down(kind) {
    say(`${kind.name}: ${(await down(kind)) ? 'stopped' : 'was not started here'}`);
    return true;
  },
  async status(kind) {
    const found = await find(kind);
    if (found !== null) say(`${kind.name}: up, ${found.version}, ${found.address}`);
    else say(`${kind.name}: down; ${(await kind.installed()) === null ? 'not installed' : 'installed'}`);
    return found !== null;
  },
};

const [verb = '', ...names] = process.argv.slice(2);
const act = verbs[verb];
const unknown = names.filter((name) => !kinds.some((kind) => kind.name === name));
if (act === undefined || unknown.length > 0) {
  process.stderr.write(
    `npm run servers -- up|down|status [${kinds.map(({ name }) => name).join('|')}…]${unknown.length > 0 ? `; unknown: ${unknown.join(', ')}` : ''}\n`,
  );
  process.exitCode = 2;
} else {
  // Without names, `up` and `status` are about those that tests run on; `down` is about all.
  const chosen = kinds.filter(({ name, isUsed }) =>
    names.length === 0 ? isUsed || verb === 'down' : names.includes(name),
  );
  // One after the other: three of them share what is installed for them.
  let allWell = true;
  for (const kind of chosen) allWell = (await act(kind)) && allWell;
  if (!allWell) process.exitCode = 1;
}
