import { expect, it } from 'vitest';
import { torture } from '../torture/torture.ts';

/** KEYTURN_TORTURE_SEED is for trying again what failed: it chooses the same strikes, though not the same processes. */
const seed = Number(process.env['KEYTURN_TORTURE_SEED'] ?? Date.now() % 1_000_000);

it(
  `30 rotations with real processes that are killed at any moment: nothing is refused, all end (I1…I8), seed ${String(seed)}`,
  { timeout: 420_000 },
  async ({ onTestFinished }) => {
    const { summary, wrong, rotations, kills } = await torture(onTestFinished, { seed, rotations: 30, kills: 30 });
    process.stdout.write(`\n${summary.join('\n')}\n\n`);
    expect(wrong, `npm run torture -- --seed ${String(seed)} tries again`).toEqual([]);
    expect(rotations).toBeGreaterThanOrEqual(30);
    expect(kills).toBeGreaterThanOrEqual(30);
  },
);
