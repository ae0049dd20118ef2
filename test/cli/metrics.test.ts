import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MetricsFile, metricsText, type SecretFacts } from '../../src/cli/metrics.ts';
import type { Check } from '../../src/model/check.ts';
import { createFakeClock, createSeededRandom } from '../../src/memory/clock.ts';
import { runOf } from '../conformance/run-samples.ts';
import { parseMetrics } from './prometheus.ts';

const at = Date.parse('2026-03-01T12:00:00.000Z');

function factsOf(secret: string, over: Partial<SecretFacts> = {}): SecretFacts {
  const due = { at: at + 86_400_000, overdue: false };
  const found = { due, accepted: 1, primaryCreatedAt: Date.parse('2026-02-01T12:00:00.000Z') };
  return { secret, failed: false, found, live: null, ...over };
}

function failingCheck(name: Check['name']): Check {
  const nothing = { since: null, eta: null, command: null, evidence: {} };
  return { name, ok: false, reason: 'not-yet', message: 'Not yet.', waitingFor: 'time', ...nothing };
}

function rotating(secret: string, ...names: readonly Check['name'][]): SecretFacts {
  const checks = [...names.map(failingCheck), { ...failingCheck('clock'), ok: true }];
  const wait = { kind: 'wait', step: 'monitor', checks, problem: null } as const;
  return factsOf(secret, { live: { run: runOf(secret, 'r1', { startedAt: at - 5_000 }), step: 'monitor', wait } });
}

const secrets: readonly SecretFacts[] = [
  factsOf('idle'),
  rotating('production/acme/hook', 'grace', 'old-quiet'),
  rotating('stopped', 'held', 'grace'),
  factsOf('late', { found: { ...factsOf('late').found!, due: { at: at - 1_000, overdue: true } } }),
  factsOf('unscheduled', { found: { ...factsOf('x').found!, due: { at: null, overdue: false } } }),
  factsOf('broken', { failed: true, found: null }),
  factsOf('absent', { found: null }),
];
const visit = { at, lastSuccessAt: at - 60_000, failures: 1 };

describe('the metrics', () => {
  it('say how visits go, and where each secret stands', () => {
    const samples = parseMetrics(metricsText(visit, secrets));
    const of = (name: string, secret: string): number | undefined =>
      samples.get(`keyturn_secret_${name}{secret="${secret}"}`);
    expect(samples.get('keyturn_run_last_timestamp_seconds')).toBe(at / 1_000);
    expect(samples.get('keyturn_run_last_success_timestamp_seconds')).toBe(at / 1_000 - 60);
    expect(samples.get('keyturn_run_failures')).toBe(1);
    expect(samples.get('keyturn_run_secrets')).toBe(7);
    expect(secrets.map(({ secret }) => of('failed', secret))).toEqual([0, 0, 0, 0, 0, 1, 0]);
    expect(secrets.map(({ secret }) => of('run_step', secret))).toEqual([0, 4, 4, 0, 0, undefined, 0]);
    expect(secrets.map(({ secret }) => of('held', secret))).toEqual([0, 0, 1, 0, 0, undefined, 0]);
    expect(secrets.map(({ secret }) => of('overdue', secret))).toEqual([0, 0, 0, 1, 0, undefined, undefined]);
    expect(of('due_timestamp_seconds', 'idle')).toBe(at / 1_000 + 86_400);
    expect(of('due_timestamp_seconds', 'unscheduled')).toBeUndefined();
    expect(of('accepted_versions', 'idle')).toBe(1);
    expect(of('accepted_versions', 'absent')).toBeUndefined();
    expect(of('primary_created_timestamp_seconds', 'idle')).toBe(Date.parse('2026-02-01T12:00:00.000Z') / 1_000);
    expect(of('run_started_timestamp_seconds', 'production/acme/hook')).toBe(at / 1_000 - 5);
    const waiting = [...samples.keys()].filter((series) => series.startsWith('keyturn_secret_waiting'));
    expect(waiting).toEqual([
      'keyturn_secret_waiting{secret="production/acme/hook",check="grace"}',
      'keyturn_secret_waiting{secret="production/acme/hook",check="old-quiet"}',
      'keyturn_secret_waiting{secret="stopped",check="held"}',
      'keyturn_secret_waiting{secret="stopped",check="grace"}',
    ]);
  });

  it('escape whatever a label may hold', () => {
    const samples = parseMetrics(metricsText(visit, [factsOf('a\\b"c\nd')]));
    expect(samples.get('keyturn_secret_failed{secret="a\\\\b\\"c\\nd"}')).toBe(0);
  });

  it('are the ones that docs/cli.md names', () => {
    const docs = readFileSync(join(import.meta.dirname, '../../docs/cli.md'), 'utf8');
    const documented = [...docs.matchAll(/^\| `(keyturn_\w+)/gm)].map(([, name]) => name);
    const given = [...metricsText(visit, secrets).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(documented.toSorted()).toEqual(given.toSorted());
  });

  const promtool = spawnSync('promtool', ['--version']).error === undefined;
  it.skipIf(!promtool)(
    `pass \`promtool check metrics\`${promtool ? '' : ' (skipped: Debian has it in prometheus)'}`,
    () => {
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
        input: metricsText(visit, secrets),
      });
      expect(`${String(stdout)}${String(stderr)}`).toBe('');
      expect(status).toBe(0);
    },
  );
});

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-metrics-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const clock = createFakeClock(at);
  const path = join(folder, 'keyturn.prom');
  const file = new MetricsFile(path, { clock, random: createSeededRandom(1) });
  return { folder, clock, path, file, samples: () => parseMetrics(readFileSync(path, 'utf8')) };
}

describe('the metrics file', () => {
  it('is for everybody to read, whatever the umask, and alone in its folder', async () => {
    const { folder, path, file } = setUp();
    const before = process.umask(0o077);
    onTestFinished(() => void process.umask(before));
    await file.write([]);
    expect(statSync(path).mode & 0o777).toBe(0o644);
    chmodSync(path, 0o600);
    await file.write([]);
    expect(statSync(path).mode & 0o777).toBe(0o644);
    expect(readdirSync(folder)).toEqual(['keyturn.prom']);
  });

  it('remembers the last success and counts the failures, also from one process to the next', async () => {
    const { clock, path, file, samples } = setUp();
    await file.write(null);
    expect([...samples()]).toEqual([
      ['keyturn_run_last_timestamp_seconds', at / 1_000],
      ['keyturn_run_failures', 1],
      ['keyturn_run_secrets', 0],
    ]);
    await clock.advance(10_000);
    await file.write([factsOf('hook')]);
    await clock.advance(10_000);
    await file.write([factsOf('hook', { failed: true })]);
    await clock.advance(10_000);
    await new MetricsFile(path, { clock, random: createSeededRandom(2) }).write(null);
    expect(samples().get('keyturn_run_failures')).toBe(2);
    expect(samples().get('keyturn_run_last_timestamp_seconds')).toBe(at / 1_000 + 30);
    expect(samples().get('keyturn_run_last_success_timestamp_seconds')).toBe(at / 1_000 + 10);
    await file.write([factsOf('hook')]);
    expect(samples().get('keyturn_run_failures')).toBe(0);
  });

  it('takes nothing from a file that is something else', async () => {
    const { path, file, samples } = setUp();
    writeFileSync(path, 'keyturn_run_failures lots\n# keyturn_run_last_success_timestamp_seconds 12\n');
    await file.write(null);
    expect(samples().get('keyturn_run_failures')).toBe(1);
    expect(samples().has('keyturn_run_last_success_timestamp_seconds')).toBe(false);
  });

  it('that cannot be written is an error with the way out, and leaves nothing behind', async () => {
    const { folder, path, file, clock } = setUp();
    mkdirSync(path);
    const error = { code: 'metrics-unwritable', message: expect.stringContaining(path) };
    await expect(file.write([])).rejects.toMatchObject(error);
    expect(readdirSync(folder)).toEqual(['keyturn.prom']);
    const nowhere = new MetricsFile(join(folder, 'no/such.prom'), { clock, random: createSeededRandom(1) });
    await expect(nowhere.write([])).rejects.toMatchObject({ code: 'metrics-unwritable' });
  });
});
