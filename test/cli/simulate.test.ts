import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../providers/policy-file.ts';
import { main } from '../../src/cli/main.ts';
import type { Policy } from '../../src/model/policy.ts';
import { retrying } from '../simulator/policies.ts';

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const example = fileURLToPath(new URL('../../rotation-policy.example.json', import.meta.url));

/** The command with the example's policy, or with that one. */
async function keyturn(args: readonly string[], given?: Policy, stopped = false): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const exit = await main(
    {
      loadPolicy: async () => ({ policy: given ?? (await loadPolicy(example, {})).policy, warnings: [] }),
      missingCredentials: () => Promise.reject(new Error('it reads no credential')),
      openExamination: () => Promise.reject(new Error('it opens nothing')),
      openOrchestrator: () => Promise.reject(new Error('it opens nothing')),
    },
    {
      argv: ['simulate', ...args],
      env: {},
      stdout: { write: (text: string) => (written.stdout += text) },
      stderr: { write: (text: string) => (written.stderr += text) },
      signal: stopped ? AbortSignal.abort('SIGINT') : new AbortController().signal,
      version: () => '0',
    },
  );
  return { exit, ...written };
}

async function policyWith(change: object): Promise<Policy> {
  const { policy } = await loadPolicy(example, {});
  return { ...policy, secrets: [{ ...retrying, ...change }] };
}

describe('simulate', () => {
  it('says what became of each policy, secrets of one policy as one', async () => {
    const { exit, stdout } = await keyturn(['--runs', '3', '--seed', '1', '--faults', 'none', '--quiet']);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^Simulated 3 worlds with no faults, from seed 1 on: \d+ rotations, [\d,]+ messages\.\n/);
    expect(stdout).toContain('Not one valid message was refused');
    expect(stdout).toContain(
      'sandbox/acme/messages-relay (and sandbox/globex/messages-relay, whose policy is the same)',
    );
  });

  it('prints the same trace for the same seed, byte for byte', async () => {
    const args = [
      'messages-relay',
      '--env',
      'sandbox',
      '--tenant',
      'acme',
      '--seed',
      '7',
      '--faults',
      'hard',
      '--trace',
    ];
    const one = await keyturn(args);
    expect(one.stdout).toMatch(/^\+00:00:00\.\d{3} {2}/);
    expect(await keyturn(args)).toEqual(one);
  });

  it('gives one document with --json', async () => {
    const { stdout } = await keyturn(['github-webhook', '--runs', '1', '--seed', '3', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      format: 'keyturn.simulation/1',
      seed: 3,
      faults: 'usual',
      secrets: [{ secrets: ['production/github-webhook'], runs: 1, violation: null }],
    });
  });

  it('finds a policy that cannot be safe, with the seed, the faults that it takes, what happened, and why (R-14)', async () => {
    const gates = { ...retrying.gates, graceMs: 1_000, quietMs: 1_000 };
    const receivers = { ...retrying.receivers, reportEveryMs: 1_000, refreshEveryMs: 2_000 };
    const { capabilities } = retrying.upstream;
    const upstream = { ...retrying.upstream, capabilities: { ...capabilities, retryHorizonMs: 0, switchLagMs: 1_000 } };
    const policy = await policyWith({ gates, receivers, upstream });
    const { exit, stdout } = await keyturn(['--runs', '200', '--seed', '1', '--faults', 'hard', '--quiet'], policy);
    expect(exit).toBe(1);
    expect(stdout).toMatch(/Something happened that must never happen: I[12]/);
    expect(stdout).toMatch(/gates\.quiet \(1s\): make it longer/);
    expect(stdout).toMatch(/keyturn simulate retrying --seed \d+ --faults hard --trace/);
  });

  it('refuses an upstream without a world', async () => {
    const { exit, stderr } = await keyturn([], await policyWith({ direction: 'outbound' }));
    expect(exit).toBe(2);
    expect(stderr).toMatch(/^keyturn: The upstream of retrying works by signatures of the fleet/);
  });

  it.each([
    [['--runs', '0'], /whole number from 1/],
    [['--runs', 'many'], /whole number from 1/],
    [['--seed', 'abc'], /whole number from 0/],
    [['--seed', '-1'], /whole number from 0/],
    [['--faults', 'some'], /none, usual, hard/],
    [['nobody'], /has no secret nobody/],
  ])('refuses %j with a sentence', async (args, says) => {
    const { exit, stderr } = await keyturn(args);
    expect([exit, stderr]).toEqual([2, expect.stringMatching(says)]);
  });

  it('prints what was done so far when it is interrupted', async () => {
    const { exit, stdout } = await keyturn(['--runs', '5', '--seed', '1'], undefined, true);
    expect([exit, stdout]).toEqual([130, expect.stringContaining('Simulated 0 worlds')]);
  });
});
