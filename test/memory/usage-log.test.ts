import { createFakeClock } from '../../src/memory/clock.ts';
import { createMemoryUsageLog } from '../../src/memory/usage-log.ts';
import { describeUsageLog } from '../conformance/usage-log.ts';

describeUsageLog('memory', {
  open: () => {
    const clock = createFakeClock();
    const log = createMemoryUsageLog({ clock });
    return Promise.resolve({ clock, log: () => Promise.resolve(log) });
  },
});
