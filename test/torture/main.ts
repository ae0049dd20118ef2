import { parseArgs } from 'node:util';
import type { Later } from '../process/support/processes.ts';
import { torture } from './torture.ts';

// `npm run torture -- --kills 1000 [--rotations N] [--seed S] [--secrets N]`

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    rotations: { type: 'string', default: '30' },
    secrets: { type: 'string', default: '15' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});

function count(name: keyof typeof values, least: number): number {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number >= least) return number;
  console.error(`--${name} ${values[name]} is no whole number from ${String(least)} on.`);
  process.exit(2);
}

const closers: Parameters<Later>[0][] = [];
const close = async (): Promise<void> => {
  for (const closer of closers.splice(0).reverse()) await closer();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void close().finally(() => process.exit(130)));
}

const options = {
  kills: count('kills', 0),
  rotations: count('rotations', 1),
  secrets: count('secrets', 1),
  seed: count('seed', 0),
  progress: (line: string) => process.stderr.write(`${line}\n`),
};
try {
  const { summary, wrong } = await torture((closer) => void closers.push(closer), options);
  console.log(summary.join('\n'));
  for (const line of wrong) console.log(`WRONG: ${line}`);
  console.log(
    wrong.length === 0 ? 'Nothing is wrong.' : `${String(wrong.length)} wrong; seed ${String(options.seed)}.`,
  );
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await close();
}
