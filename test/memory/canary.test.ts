import { createMemoryCanary } from '../../src/memory/canary.ts';
import { describeCanary } from '../conformance/canary.ts';

describeCanary('memory', {
  open: async () => {
    const { canary, control } = createMemoryCanary();
    return {
      canary,
      answer: (answer) => control.answer(() => answer),
      fault: control.fault,
      got: control.arrived,
      arrived: async () => {},
      close: () => canary.close(),
    };
  },
});
