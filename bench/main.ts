import type { Bench } from './bench.ts';

/** `npm run -s bench -- [NAME] [--json]`: one benchmark, or all of them. Loads only the one that is asked for. */
const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  verify: async () => (await import('./verify.ts')).verifyBench(),
  cache: async () => (await import('./cache.ts')).cacheBench(),
  start: async () => (await import('./start.ts')).startBench(),
  scan: async () => (await import('./scan.ts')).scanBench(),
  memory: async () => (await import('./memory.ts')).memoryBench(),
  stores: async () => (await import('./stores.ts')).storesBench(),
  simulate: async () => (await import('./simulate.ts')).simulateBench(),
};

process.exitCode = await main(process.argv.slice(2));

/** Returns the exit code: 1 where something cannot be measured, 2 for wrong usage. A missed target is a result. */
async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  const [name, ...others] = args.filter((arg) => arg !== '--json');
  const names = name === undefined ? Object.keys(benches) : [name];
  if (others.length > 0 || !names.every((each) => Object.hasOwn(benches, each))) {
    const given = others.length > 0 ? 'One name at a time, please' : `There is no benchmark ${JSON.stringify(name)}`;
    console.error(`${given}; there are ${Object.keys(benches).join(', ')}.`);
    return 2;
  }
  const results: Bench[] = [];
  for (const each of names) {
    const result = await measured(each);
    if (result === null) return 1;
    results.push(result);
    if (!json) console.log(table(result));
  }
  if (json) console.log(JSON.stringify(results.length === 1 ? results[0] : results, null, 2));
  return 0;
}

async function measured(name: string): Promise<Bench | null> {
  try {
    return (await benches[name]?.()) ?? null;
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

function table({ name, rows }: Bench): string {
  const text = (value: number | null): string => (value === null ? '' : String(value));
  const cells = rows.map((row) => [
    row.case,
    row.value === null ? '' : `${String(row.value)} ${row.unit ?? ''}`,
    text(row.ratio),
    text(row.target),
    row.met === null ? '' : row.met ? 'met' : 'missed',
    row.against ?? '',
  ]);
  const lines = [['case', 'measured', 'ratio', 'target', '', 'against'], ...cells];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  const rowsOfText = lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return [name, ...rowsOfText.map((line) => `  ${line.trimEnd()}`), ''].join('\n');
}
