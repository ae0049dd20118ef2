import { expect, it } from 'vitest';
import type { Sighting } from '../../src/ports/sightings.ts';
import { take, type FullJournal } from './journal.ts';
import { eventOf, runOf } from './run-samples.ts';

type Opened = () => { readonly journal: FullJournal; readonly other: FullJournal };

const now = 1_767_225_600_000;
const minute = 60_000;

function sightingOf(secret: string, change: Partial<Sighting> = {}): Sighting {
  const times = { primaryCreatedAt: now - 5 * minute, seenAt: now, goodUntil: now + 30 * minute };
  return { secret, place: 'here', ...times, ...change };
}

/** What every journal must do with what visits saw; part of the suite of journals. */
export function describeSightings(opened: Opened): void {
  const known = async (at = now): Promise<readonly string[]> => {
    const recalled = await opened().other.sightings.recall(at);
    return [...recalled.known.keys()].sort();
  };

  it('recalls what was kept, as it was, from any opening', async () => {
    const { journal, other } = opened();
    expect([...(await other.sightings.recall(now)).known]).toEqual([]);
    const [one, two] = [sightingOf('one'), sightingOf('two', { place: 'elsewhere two', primaryCreatedAt: 0 })];
    await journal.sightings.keep([one, two], [], (await journal.sightings.recall(now)).mark);
    expect(Object.fromEntries((await other.sightings.recall(now)).known)).toEqual({ one, two });
  });

  it('keeps the newest of each secret, and removes those that are gone', async () => {
    const { journal } = opened();
    await journal.sightings.keep([sightingOf('one'), sightingOf('two'), sightingOf('three')], [], 0);
    const newer = sightingOf('one', { place: 'moved', seenAt: now - 1 });
    await journal.sightings.keep([newer], ['two', 'never seen'], 0);
    const recalled = (await journal.sightings.recall(now)).known;
    expect([...recalled.keys()].sort()).toEqual(['one', 'three']);
    expect(recalled.get('one')).toEqual(newer);
  });

  it('recalls none from ahead of the clock, which was set back, and none that is too old', async () => {
    const { journal } = opened();
    await journal.sightings.keep([sightingOf('one'), sightingOf('two', { seenAt: now + minute })], [], 0);
    expect(await known(now - 1)).toEqual([]);
    expect(await known(now)).toEqual(['one']);
    expect(await known(now + 30 * minute - 1)).toEqual(['one', 'two']);
    expect(await known(now + 30 * minute)).toEqual([]);
  });

  it.each(['begins', 'is saved', 'is told something'])('recalls none whose secret has a run that %s', async (what) => {
    const { journal, other } = opened();
    const lease = await take(journal, 'one');
    const run = runOf('one', 'r-1');
    if (what !== 'begins') await journal.begin(run, [eventOf(run, 'started')], lease);
    const { mark } = await journal.sightings.recall(now);
    await journal.sightings.keep([sightingOf('one'), sightingOf('two')], [], mark);
    expect(await known()).toEqual(['one', 'two']);
    if (what === 'begins') await other.begin(run, [eventOf(run, 'started')], lease);
    if (what === 'is saved') await other.save(run, [eventOf(run, 'completed')], lease);
    const move = { kind: 'hold', step: 'deploy', check: null, who: 'ada', why: null, at: now } as const;
    if (what === 'is told something') await other.move(run.id, move, eventOf(run, 'hold'));
    expect(await known()).toEqual(['two']);
  });

  it('recalls none that was kept after the event and read before it, and those that were read after it', async () => {
    const { journal, other } = opened();
    const { mark } = await journal.sightings.recall(now);
    await other.note(eventOf(runOf('one', 'r-1'), 'adopted'));
    await journal.sightings.keep([sightingOf('one'), sightingOf('two')], [], mark);
    expect(await known()).toEqual(['two']);
    const again = await journal.sightings.recall(now);
    await journal.sightings.keep([sightingOf('one')], [], again.mark);
    expect(await known()).toEqual(['one', 'two']);
  });

  it('removes those that nobody asks for any more', async () => {
    const { journal } = opened();
    await journal.sightings.keep([sightingOf('one', { goodUntil: now + 1 }), sightingOf('two')], [], 0);
    await journal.sightings.prune(now + 1);
    expect(await known()).toEqual(['one', 'two']);
    await journal.sightings.prune(now + 2);
    expect(await known()).toEqual(['two']);
  });
}
