import pLimit from 'p-limit';
import { foreignClaimWords } from '../../decide/problems.ts';
import { isMigration } from '../../model/migration.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import type { Examination } from '../../ports/examination.ts';
import type { Journal, Leases } from '../../ports/journal.ts';
import { failed, ok, warning } from '../../ports/probe.ts';
import type { ProbeFinding, SecretStore, StoreName, StoreUse } from '../../ports/secret-store.ts';
import type { UsageLog } from '../../ports/usage-log.ts';
import type { Clock, Random } from '../../ports/system.ts';
import { capabilitiesFinding } from './capabilities.ts';
import { fleetFindings, schedulerFindings } from './fleet.ts';
import { clockFindings, examined, subject, type Subject } from './subject.ts';
import { tryStore } from './trial.ts';

export interface ExamineOptions {
  readonly policy: Policy;
  /** Those that it is about. */
  readonly secrets: readonly SecretPolicy[];
  readonly use: StoreUse;
  /** True: stores are tried with a keyring of their own. */
  readonly write: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** How many hosts are waited for at a time. */
const hostsAtOnce = 8;

/** Looks at all that the use needs, one after the other, whatever fails on the way; after the signal at nothing more. */
export async function examine(on: Examination, options: ExamineOptions): Promise<readonly Subject[]> {
  const { policy, secrets, use, signal } = options;
  const subjects: Subject[] = [];
  const parts: readonly (() => Promise<readonly Subject[]>)[] = [
    async () => [subject('credentials', null, { findings: await credentials(on, options) })],
    ...Object.keys(policy.stores).map((name) => async () => [await examineStore(on, name, options)]),
    ...(use === 'receiver' ? [] : [() => examineJournal(on, options)]),
    () => examineUsage(on, options),
    ...(use === 'receiver' ? [] : [() => examineHosts(on, secrets, signal)]),
  ];
  for (const look of parts) {
    if (signal.aborted) break;
    subjects.push(...(await look()));
  }
  return subjects;
}

async function credentials(on: Examination, { secrets, use }: ExamineOptions): Promise<readonly ProbeFinding[]> {
  const findings = await on.credentials(secrets, use);
  return findings.length > 0 ? findings : [ok('credential', 'Every credential that is needed can be read.')];
}

async function examineStore(on: Examination, name: string, options: ExamineOptions): Promise<Subject> {
  const { secrets, use, write, clock, random } = options;
  const here = secrets.filter(({ store }) => store === name);
  const names = here.map(({ secret, key }) => ({ secret, key }));
  const copies = use === 'receiver' ? [] : here.flatMap(({ mirrors }) => mirrors.map(({ key }) => key));
  const look = async (
    store: SecretStore,
  ): Promise<Pick<Subject, 'version' | 'clockAheadMs' | 'capabilities' | 'findings'>> => {
    const { capabilities } = store;
    const probed = await store.probe({ use, names, plainKeys: [...new Set(copies)] });
    const isReached = !probed.findings.some((each) => each.name === 'reach' && each.state === 'failed');
    const tried = write && isReached ? await tryStore(store, { clock, random }) : [];
    const left = isReached ? await leftFindings(store, names) : [];
    const offered = isReached ? [capabilitiesFinding(capabilities)] : [];
    const clocks = clockFindings(probed.clockAheadMs);
    return { ...probed, capabilities, findings: [...probed.findings, ...clocks, ...offered, ...left, ...tried] };
  };
  return examined(subject('store', name), () => on.store(name), look);
}

/** Keyrings that were taken to another store, and that the policy still looks for in this one. */
async function leftFindings(store: SecretStore, names: readonly StoreName[]): Promise<readonly ProbeFinding[]> {
  const reads = await store.read(names);
  return names.flatMap(({ secret }) => {
    const read = reads.get(secret);
    const claim = read?.state === 'present' ? read.keyring.claim : null;
    if (claim === null || !isMigration(claim)) return [];
    const { message } = foreignClaimWords(secret, claim);
    return [warning('migrated', message, `Give ${secret} "store": "${claim.to}" in this policy too.`)];
  });
}

async function examineJournal(
  on: Examination,
  { policy, secrets, clock }: ExamineOptions,
): Promise<readonly Subject[]> {
  const scheduler: Subject[] = [];
  const look = async (journal: Journal & Leases): Promise<Pick<Subject, 'findings'>> => {
    const findings = await journal.probe();
    const looked = await orFailed('last-run', () => schedulerFindings(journal, secrets, { policy, now: clock.now() }));
    scheduler.push(subject('scheduler', null, { findings: looked }));
    return { findings };
  };
  const found = await examined(subject('journal', null), () => on.journal(), look);
  return [found, ...scheduler];
}

async function examineUsage(on: Examination, { policy, secrets, use }: ExamineOptions): Promise<readonly Subject[]> {
  const fleet: Subject[] = [];
  const look = async (usage: UsageLog): Promise<Pick<Subject, 'findings'>> => {
    const findings = await usage.probe();
    const places = { policy, host: on.host };
    if (use === 'orchestrator' && secrets.length > 0) {
      const looked = await orFailed('roster', () => fleetFindings(usage, secrets, places));
      fleet.push(subject('fleet', null, { findings: looked }));
    }
    return { findings };
  };
  const found = await examined(subject('usage', null), () => on.usage(), look);
  return [found, ...fleet];
}

/** Each host once, whatever is behind it for however many secrets. */
async function examineHosts(
  on: Examination,
  secrets: readonly SecretPolicy[],
  signal: AbortSignal,
): Promise<readonly Subject[]> {
  const origins = new Map<string, Subject['kind']>();
  for (const { canary } of secrets) if (canary !== undefined) origins.set(new URL(canary.url).origin, 'canary');
  for (const { upstream } of secrets) origins.set(originOf(upstream.steps.activate.url), 'upstream');
  return pLimit(hostsAtOnce).map([...origins], async ([origin, kind]) =>
    subject(kind, new URL(origin).host, { findings: await on.reach(origin, signal) }),
  );
}

/** Templates stand behind the host alone. */
function originOf(url: string): string {
  return new URL(url.replace(/[/?]?\{\{.*$/s, '')).origin;
}

async function orFailed(name: string, look: () => Promise<readonly ProbeFinding[]>): Promise<readonly ProbeFinding[]> {
  try {
    return await look();
  } catch (error) {
    return [failed(name, error)];
  }
}
