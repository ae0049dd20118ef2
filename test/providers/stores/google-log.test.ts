import { describe, expect, it } from 'vitest';
import { splitCounter, withCounter } from '../../../providers/stores/google/known.ts';
import { GoogleLog, type NumberedVersions } from '../../../providers/stores/google/log.ts';
import type { Numbered } from '../../../providers/stores/google/versions.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { errorOf } from '../../conformance/secret-store.ts';

const wanted = { key: 'hook', what: 'The keyring of hook' };

/** One secret whose answers are made as a test needs them: what the emulators do not do, Google may. */
class Made implements NumberedVersions {
  readonly label = 'made';
  readonly texts = new Map<number, string>();
  readonly destroyed = new Set<number>();
  readonly disabled = new Set<number>();
  /** These answer NOT_FOUND so often before they are there. */
  readonly lagging = new Map<number, number>();
  /** The list does not know of those above. */
  listsUntil = Infinity;
  /** Right before a version is added. */
  beforeAdd: (() => void) | null = null;
  readonly calls: string[] = [];
  isThere = true;
  mayKnow = true;
  skipped = 0;

  resourceOf(): string {
    return 'projects/p/secrets/hook';
  }

  put(number: number, counter: number, text = `document ${String(number)}`): void {
    this.texts.set(number, withCounter(text, counter));
  }

  async access(_: unknown, number: number): Promise<Numbered> {
    this.calls.push(`access ${String(number)}`);
    const left = this.lagging.get(number) ?? 0;
    if (left > 0) {
      this.lagging.set(number, left - 1);
      return { state: 'none' };
    }
    const text = this.texts.get(number);
    if (text === undefined) return { state: 'none' };
    return this.destroyed.has(number) || this.disabled.has(number) ? { state: 'closed' } : { state: 'open', text };
  }

  async list(): ReturnType<NumberedVersions['list']> {
    this.calls.push('list');
    if (!this.isThere) return null;
    const numbers = [...this.texts.keys()].filter((number) => number <= this.listsUntil).toSorted((a, b) => a - b);
    return numbers.map((number) => ({ number, isDestroyed: this.destroyed.has(number) }));
  }

  async isDisabled(_: unknown, number: number): Promise<boolean> {
    return this.disabled.has(number);
  }

  async create(): Promise<boolean> {
    const isNew = !this.isThere;
    this.isThere = true;
    return isNew;
  }

  async add(_: unknown, text: string): Promise<number> {
    this.beforeAdd?.();
    const number = Math.max(0, ...this.texts.keys()) + 1 + this.skipped;
    this.texts.set(number, text);
    return number;
  }

  async destroy(_: unknown, number: number): Promise<void> {
    this.destroyed.add(number);
  }

  async remove(): Promise<void> {
    this.texts.clear();
    this.isThere = false;
  }

  async secret(): ReturnType<NumberedVersions['secret']> {
    if (!this.mayKnow) return 'unknown';
    return this.isThere ? {} : 'absent';
  }
}

class Time implements Clock {
  ms = 0;
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(ms: number): Promise<void> {
    this.ms += ms;
  }
}

function logOf(...counters: readonly number[]): { versions: Made; log: GoogleLog; time: Time } {
  const versions = new Made();
  for (const [index, counter] of counters.entries()) versions.put(index + 1, counter);
  const time = new Time();
  return { versions, time, log: new GoogleLog(versions, time) };
}

async function acceptedIn(log: GoogleLog): Promise<{ number: number; counter: number } | string> {
  const read = await log.read(wanted, 'hook');
  return read.state === 'present' ? { number: read.accepted.number, counter: read.accepted.counter } : read.state;
}

describe('the numbers of versions as a log', () => {
  it.each([
    ['the highest counter', [1, 2, 3], 3, 3],
    ['the lowest number among equals: the earlier of two from one base', [1, 2, 2], 2, 2],
    ['not a document that a slow writer added to a base long gone', [1, 2, 3, 4, 2], 4, 4],
    ['the one that was made from the winner, whatever lies between', [1, 2, 2, 3, 2], 4, 3],
  ])('has as accepted %s', async (_, counters, number, counter) => {
    expect(await acceptedIn(logOf(...counters).log)).toEqual({ number, counter });
  });

  it('comes to the same from the beginning as whoever followed it', async () => {
    const orders = [[1], [2, 2], [3], [2], [4, 4, 4], [5], [3]];
    const { versions, log } = logOf();
    let number = 0;
    for (const added of orders) {
      for (const counter of added) versions.put((number += 1), counter);
      const followed = await acceptedIn(log);
      expect(await acceptedIn(new GoogleLog(versions, new Time()))).toEqual(followed);
    }
  });

  it('is asked once where nothing is new', async () => {
    const { versions, log } = logOf(1, 2);
    await acceptedIn(log);
    versions.calls.length = 0;
    await acceptedIn(log);
    expect(versions.calls).toEqual(['access 3']);
  });

  it('is read on where a list lags', async () => {
    const { versions, log } = logOf(1, 2, 3);
    versions.listsUntil = 1;
    expect(await acceptedIn(log)).toEqual({ number: 3, counter: 3 });
  });

  it('does not end at a number that is not there yet while a later one is', async () => {
    const { versions, log } = logOf(1, 2, 3);
    versions.lagging.set(2, 2);
    expect(await acceptedIn(log)).toEqual({ number: 3, counter: 3 });
    expect(versions.calls.filter((call) => call === 'access 2')).toHaveLength(3);
  });

  it('is looked at as a list after ten minutes, so that a skipped number hides nothing for longer', async () => {
    const { versions, log, time } = logOf(1);
    await acceptedIn(log);
    versions.put(3, 2);
    expect(await acceptedIn(log)).toEqual({ number: 1, counter: 1 });
    time.ms += 10 * 60_000;
    expect(await acceptedIn(log)).toEqual({ number: 3, counter: 2 });
  });

  it('lets a writer win over a number that was skipped', async () => {
    const { versions, log } = logOf(1);
    const read = await log.read(wanted, 'hook');
    versions.skipped = 2;
    expect(await log.write(wanted, 'mine', read.state === 'present' ? read.accepted : null, {})).toBe(true);
    expect(await acceptedIn(log)).toEqual({ number: 4, counter: 2 });
  });

  it('lets the later of two writers lose, who takes its own away', async () => {
    const { versions, log } = logOf(1);
    const read = await log.read(wanted, 'hook');
    versions.beforeAdd = () => versions.put(2, 2, 'theirs');
    expect(await log.write(wanted, 'mine', read.state === 'present' ? read.accepted : null, {})).toBe(false);
    expect([...versions.destroyed]).toEqual([3]);
    expect(await acceptedIn(log)).toEqual({ number: 2, counter: 2 });
  });

  it('lets nobody win from a base that is gone, however long the writer slept', async () => {
    const { versions, log } = logOf(1);
    const read = await log.read(wanted, 'hook');
    versions.beforeAdd = () => [2, 3, 4].forEach((number) => versions.put(number, number));
    expect(await log.write(wanted, 'mine', read.state === 'present' ? read.accepted : null, {})).toBe(false);
    expect(await acceptedIn(log)).toEqual({ number: 4, counter: 4 });
  });

  it('goes on past what losers left behind when they died', async () => {
    const { versions, log } = logOf(1, 2, 2, 2);
    versions.destroyed.add(3);
    const read = await log.read(wanted, 'hook');
    expect(await log.write(wanted, 'next', read.state === 'present' ? read.accepted : null, {})).toBe(true);
    expect(await acceptedIn(log)).toEqual({ number: 5, counter: 3 });
    await log.destroyOthers(wanted, 'hook');
    expect([...versions.destroyed].toSorted()).toEqual([1, 2, 3, 4]);
  });

  it('does not destroy what came after the end that was read', async () => {
    const { versions, log } = logOf(1, 2);
    await acceptedIn(log);
    const { list } = versions;
    versions.list = () => {
      versions.put(4, 3);
      return list.call(versions);
    };
    await log.destroyOthers(wanted, 'hook');
    expect([...versions.destroyed]).toEqual([1]);
  });

  it('is broken by what keyturn did not write, until somebody takes it away', async () => {
    const { versions, log } = logOf(1);
    await acceptedIn(log);
    versions.texts.set(2, 'a value put+by/hand');
    const error = await errorOf(log.read(wanted, 'hook'));
    expect(error).toMatchObject({ code: 'store-corrupt' });
    expect(JSON.stringify(error) + error.message + String(error.hint)).not.toContain('put+by/hand');
    versions.destroyed.add(2);
    expect(await acceptedIn(log)).toEqual({ number: 1, counter: 1 });
  });

  it('is deleted while the newest is disabled, and goes on when it is enabled again', async () => {
    const { versions, log } = logOf(1, 2);
    versions.disabled.add(2);
    expect(await errorOf(log.read(wanted, 'hook'))).toMatchObject({ code: 'store-deleted' });
    versions.disabled.delete(2);
    expect(await acceptedIn(log)).toEqual({ number: 2, counter: 2 });
  });

  it('tells absent from empty', async () => {
    expect(await acceptedIn(logOf().log)).toBe('empty');
    const { versions, log } = logOf();
    versions.isThere = false;
    for (const mayKnow of [true, false]) {
      versions.mayKnow = mayKnow;
      expect(await acceptedIn(log)).toBe('absent');
    }
  });

  it('is looked for beyond a first number that was skipped', async () => {
    const { versions, log } = logOf();
    versions.put(2, 1);
    expect(await acceptedIn(log)).toEqual({ number: 2, counter: 1 });
  });

  it('is not there any more when the secret was deleted, and another one when it was made again', async () => {
    const { versions, log, time } = logOf(1, 2);
    await acceptedIn(log);
    versions.texts.clear();
    versions.isThere = false;
    time.ms += 10 * 60_000;
    expect(await acceptedIn(log)).toBe('absent');
    versions.isThere = true;
    versions.put(1, 1);
    expect(await acceptedIn(log)).toEqual({ number: 1, counter: 1 });
    versions.put(2, 2);
    await acceptedIn(log);
    versions.texts.clear();
    versions.put(1, 1, 'of another log');
    versions.put(2, 1, 'of another log too');
    time.ms += 10 * 60_000;
    expect(await acceptedIn(log)).toEqual({ number: 1, counter: 1 });
  });

  it('does not take a loser that was left behind for the winner that a person disabled', async () => {
    const { versions, log } = logOf(1, 2, 2);
    versions.disabled.add(2);
    for (const each of [log, log, new GoogleLog(versions, new Time())]) {
      expect(await errorOf(each.read(wanted, 'hook'))).toMatchObject({ code: 'store-deleted' });
    }
    versions.disabled.delete(2);
    expect(await acceptedIn(log)).toEqual({ number: 2, counter: 2 });
  });

  it('goes on above one that a person disabled, when that cannot have been the winner', async () => {
    const { versions, log } = logOf(1, 2, 3);
    versions.disabled.add(1);
    versions.disabled.add(2);
    expect(await acceptedIn(log)).toEqual({ number: 3, counter: 3 });
  });

  it('stays broken by what keyturn did not write, also when somebody was about to write', async () => {
    const { versions, log } = logOf(1);
    const read = await log.read(wanted, 'hook');
    versions.beforeAdd = () => versions.texts.set(2, 'a value put+by/hand');
    await log.write(wanted, 'mine', read.state === 'present' ? read.accepted : null, {});
    for (const each of [log, log, new GoogleLog(versions, new Time())]) {
      expect(await errorOf(each.read(wanted, 'hook'))).toMatchObject({ code: 'store-corrupt' });
    }
  });

  it('has nothing destroyed while a person has to decide', async () => {
    const { versions, log } = logOf(1, 2, 3);
    await acceptedIn(log);
    versions.put(4, 4);
    versions.disabled.add(4);
    expect(await errorOf(log.destroyOthers(wanted, 'hook'))).toMatchObject({ code: 'store-deleted' });
    expect([...versions.destroyed]).toEqual([]);
  });

  it('has older versions destroyed that a list does not show yet', async () => {
    const { versions, log } = logOf(1, 2, 3);
    await acceptedIn(log);
    versions.listsUntil = 1;
    await log.destroyOthers(wanted, 'hook');
    expect([...versions.destroyed].toSorted()).toEqual([1, 2]);
  });

  it('leaves an own version alone that is not to be seen yet: it neither won nor lost', async () => {
    const { versions, log } = logOf(1);
    const read = await log.read(wanted, 'hook');
    versions.lagging.set(2, 4);
    const error = await errorOf(log.write(wanted, 'mine', read.state === 'present' ? read.accepted : null, {}));
    expect(error).toMatchObject({ code: 'store-unreachable' });
    expect([...versions.destroyed]).toEqual([]);
    expect(await acceptedIn(log)).toEqual({ number: 2, counter: 2 });
  });

  it('keeps a document exactly behind its counter', () => {
    for (const text of ['', '\n', '{"counter":2}\n', 'ключ\r\n']) {
      expect(splitCounter(withCounter(text, 12))).toEqual({ counter: 12, text });
    }
    expect(splitCounter('{"counter":"1"}\n')).toBeNull();
  });
});
