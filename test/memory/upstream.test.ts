import { describe, expect, it } from 'vitest';
import { createMemoryUpstream } from '../../src/memory/upstream.ts';
import { describeUpstream } from '../conformance/upstream.ts';

describeUpstream('memory', {
  open: async () => {
    const { upstream, control } = createMemoryUpstream();
    return {
      upstream,
      signsWith: control.signsWith,
      fault: control.fault,
      arrived: async () => {},
      close: () => upstream.close(),
    };
  },
});

describe('the control of the upstream in memory', () => {
  const signal = new AbortController().signal;

  it('hands out faults one a call, in order, and lists the calls that arrived', async () => {
    const { upstream, control } = createMemoryUpstream({ signsWith: 'a' });
    control.fault('refuse', 'unreachable');
    const call = { intentId: 'i1', newValue: 'b', oldValue: 'a', signal };
    await expect(upstream.activate({ ...call, runId: 'r1' })).rejects.toMatchObject({ code: 'upstream-refused' });
    await expect(upstream.activate({ ...call, runId: 'r2' })).rejects.toMatchObject({ code: 'upstream-unreachable' });
    await upstream.activate({ ...call, runId: 'r3' });
    expect(control.signsWith()).toBe('b');
    expect(control.calls()).toEqual([
      { runId: 'r1', fault: 'refuse' },
      { runId: 'r3', fault: null },
    ]);
  });

  it('lets somebody else change the setting', () => {
    const { control } = createMemoryUpstream({ signsWith: 'a' });
    control.set('by hand');
    expect(control.signsWith()).toBe('by hand');
  });
});
