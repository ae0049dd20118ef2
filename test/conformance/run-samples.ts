import type { SecretPolicy } from '../../src/model/policy.ts';
import type { Run } from '../../src/model/run.ts';
import type { Holder, NewEvent, ProcessIdentity } from '../../src/ports/journal.ts';

/** Runs and events to journal. Processes that tests start import this too, so it imports no test library. */

export function policyOf(secret: string): SecretPolicy {
  return {
    secret,
    name: secret,
    environment: null,
    tenant: null,
    owner: null,
    direction: 'inbound',
    store: 'main',
    key: `keys/${secret}`,
    generate: { bytes: 32, encoding: 'base64url', prefix: '' },
    scheme: 'github',
    rotateEveryMs: null,
    receivers: {
      pools: { web: { expect: 2, reporting: 'required', ephemeral: false, maxAgeMs: null } },
      reportEveryMs: 10_000,
      missingAfterMs: 600_000,
      refreshEveryMs: 60_000,
    },
    gates: { graceMs: 0, quietMs: 60_000, timeoutMs: 86_400_000, retryTail: 'respect' },
    approvals: 0,
    cutover: null,
    blackouts: [],
    mirrors: [],
    mode: 'push',
    upstream: {
      kind: 'http',
      allowHosts: ['upstream.example'],
      credentials: { token: { env: 'UPSTREAM_TOKEN' } },
      capabilities: {
        valueOrigin: 'ours',
        activation: 'on-push',
        overlap: 'none',
        dualSigned: false,
        retriesResigned: 'no',
        retryHorizonMs: 0,
        switchLagMs: 60_000,
        redelivers: true,
        idempotent: true,
      },
      steps: {
        activate: {
          method: 'PUT',
          url: 'https://upstream.example/hook',
          headers: { authorization: 'Bearer {{credential.token}}' },
          json: { secret: '{{new}}' },
          form: null,
          body: null,
          expect: [200],
          retryOn: [],
          timeoutMs: 10_000,
        },
      },
    },
  };
}

export function runOf(secret: string, id: string, over: Partial<Run> = {}): Run {
  return {
    id,
    secret,
    kind: 'rotation',
    state: 'live',
    step: 'generate',
    reason: 'a test',
    startedBy: 'ada',
    startedAt: 1_767_225_600_000,
    endedAt: null,
    from: 'v1',
    to: 'v2',
    compromised: false,
    tookOver: null,
    policy: policyOf(secret),
    gateClock: null,
    proven: null,
    revision: 3,
    intents: [],
    moves: [],
    changes: 0,
    ...over,
  };
}

export function eventOf(run: Pick<Run, 'id' | 'secret'>, event: string, over: Partial<NewEvent> = {}): NewEvent {
  return {
    at: 1_767_225_600_000,
    secret: run.secret,
    run: run.id,
    step: 'generate',
    event,
    message: `It is ${event}.`,
    data: { to: 'v2', list: [1, 'two', null] },
    ...over,
  };
}

/** A process of a machine that is none of ours. */
export const farProcess: ProcessIdentity = {
  host: 'far',
  boot: '0d1f6fb5-5a9d-4c0e-9e5b-2f7c9a3b1c11',
  pidNamespace: 'pid:[4026531836]',
  pid: 4_711,
  startedAt: '128948',
};

export function holderOf(name: string, process: ProcessIdentity | null = farProcess): Holder {
  return { name, process };
}
