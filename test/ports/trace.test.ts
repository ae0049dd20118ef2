import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createFakeClock } from '../../src/memory/clock.ts';
import { createMemoryCanary } from '../../src/memory/canary.ts';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { createMemoryStore } from '../../src/memory/secret-store.ts';
import { createMemoryUpstream } from '../../src/memory/upstream.ts';
import { createMemoryUsageLog } from '../../src/memory/usage-log.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { logOf, type LogFields } from '../../src/ports/log.ts';
import {
  traced,
  tracedCanary,
  tracedJournal,
  tracedLeases,
  tracedStore,
  tracedUpstream,
  tracedUsageLog,
  type Tracing,
} from '../../src/ports/trace.ts';
import { signedCanary } from '../../src/webhook/canary.ts';
import { add, committed, settled, valueOf } from '../cache/support.ts';
import { reportOf } from '../conformance/report-samples.ts';
import { runOf } from '../conformance/run-samples.ts';
import { leaks } from '../process/support/leaks.ts';

/** A log that redacts nothing, so that what is never logged shows as such. */
function recording() {
  const clock = createFakeClock();
  const lines: LogFields[] = [];
  const log = logOf((level) => (message, fields) => void lines.push({ level, message, ...fields }));
  const tracing: Tracing = { log, clock };
  return { clock, lines, tracing };
}

const ada = { name: 'ada@host, process 7', process: null };

describe('a traced port', () => {
  test('does what it did, with its private fields, and says how long it took and how it ended', async () => {
    const { clock, lines, tracing } = recording();
    class Port {
      readonly #kept = new Map([['a', 'value-of-a-0123456789']]);
      readonly label = 'a port';
      get size(): number {
        return this.#kept.size;
      }
      async take(key: string, _value: string): Promise<string | undefined> {
        await clock.advance(7);
        if (key === 'broken') throw new KeyturnError('store-denied', `No ${key}.`);
        if (key === 'bug') throw new TypeError('with value-of-a-0123456789');
        return this.#kept.get(key);
      }
    }
    const port = traced(
      new Port(),
      { name: 'port', always: { at: 'a port' }, calls: { take: { asked: (key) => ({ key }) } } },
      tracing,
    );
    expect(await port.take('a', 'value-of-b-0123456789')).toBe('value-of-a-0123456789');
    await expect(port.take('broken', '')).rejects.toMatchObject({ code: 'store-denied' });
    await expect(port.take('bug', '')).rejects.toThrow(TypeError);
    const call = { level: 'debug', message: 'port take', ms: 7, at: 'a port' };
    expect(lines).toEqual([
      { ...call, outcome: 'done', key: 'a' },
      { ...call, outcome: 'failed', key: 'broken', code: 'store-denied' },
      { ...call, outcome: 'failed', key: 'bug', code: 'unexpected' },
    ]);
    expect([port.label, port.size, port.take === port.take]).toEqual(['a port', 1, true]);
    expect(inspect(port, { depth: 10, showHidden: true })).not.toContain('value-of');
  });

  test('tells of a store what was read and written, by name and revision', async () => {
    const { clock, lines, tracing } = recording();
    const bare = createMemoryStore({ clock });
    const store = tracedStore(bare, tracing);
    const name = { secret: 'hook', key: 'keys/hook' };
    const first = settled('hook', 'v1');
    await store.read([name]);
    await store.commit(name, first, null);
    await store.read([name]);
    await expect(store.commit(name, committed(first, add('v2')), null)).rejects.toMatchObject({
      code: 'store-conflict',
    });
    bare.control.fail('keys/hook', new KeyturnError('store-corrupt', 'Broken.'));
    await store.read([name]);
    await store.read([name, { secret: 'other', key: 'other' }]);
    await store.plain.write('copies/hook', () => valueOf('v1'));
    await store.plain.read('copies/hook');
    const of = { level: 'debug', store: bare.label, ms: 0 };
    const commit = { message: 'store commit', secret: 'hook', ...of };
    const read = { message: 'store read', secret: 'hook', ...of };
    expect(lines).toEqual([
      { ...read, outcome: 'absent' },
      { ...commit, outcome: 'done', revision: 1 },
      { ...read, outcome: 'present', revision: 1 },
      { ...commit, outcome: 'failed', revision: 2, code: 'store-conflict' },
      { ...read, outcome: 'failed', code: 'store-corrupt' },
      { ...of, message: 'store read', outcome: 'done', secrets: 2, failed: 1 },
      { level: 'debug', message: 'store plain copy write', ms: 0, outcome: 'done', key: 'copies/hook' },
      { level: 'debug', message: 'store plain copy read', ms: 0, outcome: 'done', key: 'copies/hook' },
    ]);
    expect(leaks([valueOf('v1'), valueOf('v2')], new Map([['lines', JSON.stringify(lines)]]))).toEqual([]);
  });

  test('tells of leases who has one, and of a journal which run and events', async () => {
    const { clock, lines, tracing } = recording();
    const bare = createMemoryJournal({ clock, id: 'j1' });
    const leases = tracedLeases(bare, tracing);
    const journal = tracedJournal(bare, tracing);
    const taken = await leases.acquire('hook', ada, 5_000);
    if (!('lease' in taken)) throw new Error('it is free');
    await leases.acquire('hook', { name: 'grace', process: null }, 5_000);
    const lease = await leases.renew(taken.lease, 9_000);
    const { run } = await journal.begin(runOf('hook', 'r1'), [], lease);
    const event = {
      at: 0,
      secret: 'hook',
      run: 'r1',
      step: run.step,
      event: 'generate-started',
      message: '',
      data: {},
    };
    await journal.save(run, [event, { ...event, event: 'generate-done' }], lease);
    await journal.runs({ id: 'r1' });
    await leases.release(lease);
    await expect(leases.renew(lease, 9_000)).rejects.toMatchObject({ code: 'lease-lost' });
    const on = { level: 'debug', ms: 0, lease: 'hook' };
    const in1 = { level: 'debug', ms: 0, run: 'r1' };
    expect(lines).toEqual([
      { ...on, message: 'lease acquire', outcome: 'taken', fence: 1 },
      { ...on, message: 'lease acquire', outcome: 'busy', fence: 1, holder: ada.name },
      { ...on, message: 'lease renew', outcome: 'renewed', fence: 1, forMs: 9_000 },
      { ...in1, message: 'journal begin', outcome: 'done', secret: 'hook', joined: false },
      { ...in1, message: 'journal save', outcome: 'done', secret: 'hook', events: 'generate-started generate-done' },
      { ...in1, message: 'journal runs', outcome: 'done', runs: 1 },
      { ...on, message: 'lease release', outcome: 'released' },
      { ...on, message: 'lease renew', outcome: 'failed', forMs: 9_000, code: 'lease-lost' },
    ]);
  });

  test('tells of the usage log and the upstream by ids alone', async () => {
    const { clock, lines, tracing } = recording();
    const usage = tracedUsageLog(createMemoryUsageLog({ clock }), tracing);
    await usage.report(reportOf('w1'));
    await usage.evidence('hook');
    const { upstream, control } = createMemoryUpstream();
    control.fault('refuse');
    const calls = tracedUpstream(upstream, tracing);
    const { signal } = new AbortController();
    const call = { runId: 'r1', intentId: 'i1', newValue: valueOf('v2'), oldValue: valueOf('v1'), signal };
    await expect(calls.activate(call)).rejects.toMatchObject({ code: 'upstream-refused' });
    await calls.activate(call);
    const of = { level: 'debug', message: 'upstream activate', ms: 0, upstream: 'memory', run: 'r1', intent: 'i1' };
    expect(lines).toEqual([
      {
        ...{ level: 'debug', message: 'usage log report', ms: 0, outcome: 'done' },
        ...{ receiver: 'id of w1', secrets: 1, signsOff: false },
      },
      { level: 'debug', message: 'usage log evidence', ms: 0, outcome: 'done', secret: 'hook', receivers: 1 },
      { ...of, outcome: 'failed', code: 'upstream-refused' },
      { ...of, outcome: 'done', upstreamRequestId: null },
    ]);
  });

  test('tells of canaries by their ids and answers', async () => {
    const { lines, tracing } = recording();
    const { canary, control } = createMemoryCanary();
    const calls = tracedCanary(canary, tracing);
    const { signal } = new AbortController();
    control.answer(() => ({ status: 401, reason: 'signature-mismatch' }));
    const message = signedCanary('github', valueOf('v2'), 'm1');
    await calls.send({ runId: 'r1', id: 'm1', ...message, signal });
    control.fault('unreachable');
    await expect(calls.send({ runId: 'r1', id: 'm2', ...message, signal })).rejects.toThrow(KeyturnError);
    const of = { level: 'debug', message: 'canary send', ms: 0, place: 'memory', run: 'r1' };
    expect(lines).toEqual([
      { ...of, canary: 'm1', outcome: 'done', status: 401, reason: 'signature-mismatch' },
      { ...of, canary: 'm2', outcome: 'failed', code: 'canary-unreachable' },
    ]);
  });
});
