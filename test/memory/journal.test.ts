import { createFakeClock } from '../../src/memory/clock.ts';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { describeJournal } from '../conformance/journal.ts';

describeJournal('memory', {
  open: (digest) => {
    const clock = createFakeClock();
    const journal = createMemoryJournal({ clock, id: 'jmemory0000', ...(digest === undefined ? {} : { digest }) });
    return Promise.resolve({ clock, journal: () => Promise.resolve(journal) });
  },
});
