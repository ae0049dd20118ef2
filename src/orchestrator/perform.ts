import { legOf } from '../decide/leg.ts';
import { keyringIn } from '../decide/observation.ts';
import { idBytes, idFrom } from '../model/id.ts';
import type { EffectKind, Intent, IntentResult, Run } from '../model/run.ts';
import { correlated } from '../ports/correlate.ts';
import type { NewEvent } from '../ports/journal.ts';
import { canaryEffect } from './canary.ts';
import { commitEffect } from './commit.ts';
import { outsideEffect } from './outside.ts';
import type { Parts } from './parts.ts';
import { idleLeaseMs } from './tenure.ts';
import type { Performed, Work } from './work.ts';

/** What the commits around an outside effect may take, on top of the effect's own timeout, ms. */
const commitAllowanceMs = 2_000;

/** How much longer the lease runs than the effect that it protects, ms. */
const leaseMarginMs = 2_000;

/** Journals the intent, performs the effect, journals what came of it. Returns the run as it is journalled then. */
export async function perform(work: Omit<Work, 'intent'>): Promise<Run> {
  const { parts, tenure, effect } = work;
  const { version, timeoutMs, go } = await wayOf(work);
  const effectMs = timeoutMs + commitAllowanceMs;
  await tenure.extend(Math.max(idleLeaseMs, effectMs + leaseMarginMs));
  const at = parts.clock.now();
  const intent: Intent = {
    id: idFrom('intent', parts.random.bytes(idBytes)),
    effect,
    version,
    token: tenure.lease.token,
    at,
    deadline: at + effectMs,
    result: null,
  };
  return correlated({ intent: intent.id }, () => performIntended(work, intent, go));
}

/** How an effect is performed. */
interface Way {
  /** What the upstream is told by it; null where it is told nothing. */
  readonly version: string | null;
  /** How long what it does outside of the store may take, ms. */
  readonly timeoutMs: number;
  readonly go: (work: Work) => Promise<Performed>;
}

async function wayOf(work: Omit<Work, 'intent'>): Promise<Way> {
  const { parts, run, effect } = work;
  if (effect === 'canary') {
    const canary = await parts.canary(run.policy);
    return { version: null, timeoutMs: canary.timeoutMs, go: (intended) => canaryEffect(intended, canary) };
  }
  const version = toldVersion(work);
  if (version === null) return { version, timeoutMs: 0, go: commitEffect };
  const upstream = await parts.upstream(run.policy);
  return { version, timeoutMs: upstream.timeoutMs, go: (intended) => outsideEffect(intended, upstream) };
}

async function performIntended(work: Omit<Work, 'intent'>, intent: Intent, go: Way['go']): Promise<Run> {
  const { effect } = intent;
  const intended = await journal(
    work,
    { ...work.run, intents: withIntent(work.run.intents, intent) },
    `${effect}-started`,
    null,
    { intent: intent.id },
  );
  const performed = await go({ ...work, run: intended, intent });
  const { result, upstreamRequestId = null, facts } = performed;
  const settled: Run = {
    ...intended,
    revision: Math.max(intended.revision, performed.revision),
    intents: intended.intents.map((each) => (each.id === intent.id ? { ...each, result } : each)),
  };
  return journal(work, settled, `${effect}-${result.outcome}`, result, {
    ...{ intent: intent.id, outcome: result.outcome, code: result.code },
    ...(upstreamRequestId === null ? {} : { upstreamRequestId }),
    ...facts,
  });
}

/** What the upstream is told by this effect; null where it is told nothing. */
function toldVersion({ run, seen, effect }: Omit<Work, 'intent'>): string | null {
  if (effect === 'activate') return run.to;
  if (effect === 'restore') return run.from;
  if (effect !== 'reassert' || seen.keyring.state === 'failed') return null;
  return legOf(run, keyringIn(seen.keyring, run.secret), seen).target;
}

/** How many failed tries a run remembers: enough for every back-off to be at its longest. */
const maxFailedIntents = 20;

function withIntent(intents: readonly Intent[], intent: Intent): readonly Intent[] {
  const isCanary = ({ effect }: Intent): boolean => effect === 'canary';
  const isSurplus = ({ result }: Intent): boolean => result?.outcome === 'failed';
  // Failed canaries must not push out what is known of the upstream; and of canaries only the latest answers count.
  const known = isCanary(intent) ? withoutAnswered(intents) : intents;
  const counted = known.filter((each) => isSurplus(each) && isCanary(each) === isCanary(intent));
  const dropped = new Set(counted.slice(0, Math.max(0, counted.length - maxFailedIntents + 1)));
  return [...known.filter((each) => !dropped.has(each)), intent];
}

/** Without the canaries up to the last that went well. */
function withoutAnswered(intents: readonly Intent[]): readonly Intent[] {
  const last = intents.findLastIndex(({ effect, result }) => effect === 'canary' && result?.outcome === 'done');
  return intents.filter(({ effect }, index) => effect !== 'canary' || index > last);
}

async function journal(
  { parts, tenure, effect }: Omit<Work, 'intent'>,
  run: Run,
  event: string,
  result: IntentResult | null,
  data: Readonly<Record<string, unknown>>,
): Promise<Run> {
  const happened = eventOf(parts, run, event, effectWords(effect, run, result), data);
  return parts.journal.save(run, [happened], tenure.lease);
}

/** An event of a run, at its present step. */
export function eventOf(
  parts: Pick<Parts, 'clock' | 'who'>,
  run: Pick<Run, 'id' | 'secret' | 'step'>,
  event: string,
  message: string,
  data: Readonly<Record<string, unknown>> = {},
): NewEvent {
  const { secret, id, step } = run;
  return { at: parts.clock.now(), secret, run: id, step, event, message, data: { ...data, who: parts.who } };
}

function effectWords(effect: EffectKind, run: Run, result: IntentResult | null): string {
  const what: Readonly<Record<EffectKind, string>> = {
    reclaim: 'claiming the keyring anew, so that nothing of an earlier process can follow',
    generate: `storing the new version ${run.to} as pending`,
    canary: `asking the receivers by canaries whether they take version ${run.to}`,
    activate: `telling the upstream to use version ${run.to}`,
    promote: `making version ${run.to} the primary`,
    restore: `telling the upstream to use version ${run.from ?? ''} again`,
    reinstate: `making version ${run.from ?? ''} the primary again`,
    mirror: 'writing the plain copies',
    reassert: 'telling the upstream once more which version to use',
    revoke: 'revoking everything but the primary',
    purge: "erasing the store's older copies",
    withdraw: `revoking the unused version ${run.to}`,
  };
  if (result === null) return `Now ${what[effect]}.`;
  if (result.outcome === 'done') return `Done: ${what[effect]}.`;
  return `${result.outcome === 'failed' ? 'Failed' : 'Unknown whether it happened'}: ${what[effect]}. ${result.message ?? ''}`.trim();
}
