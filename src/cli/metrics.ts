import { open, readFile, rename, rm } from 'node:fs/promises';
import type { Wait } from '../decide/decision.ts';
import { dueOf, type Due } from '../decide/schedule.ts';
import { failing } from '../model/check.ts';
import { KeyturnError } from '../model/errors.ts';
import { acceptedVersions, primaryOf, type Keyring } from '../model/keyring.ts';
import { steps, type Run, type Step } from '../model/run.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { Found } from '../orchestrator/due-scan.ts';
import type { Visit } from '../orchestrator/visit.ts';
import type { Clock, Random } from '../ports/system.ts';
import { isHeld } from './describe.ts';
import { failureOf } from './visits.ts';

interface LiveFacts {
  readonly run: Run;
  readonly step: Step;
  readonly wait: Wait | null;
}

/** What a visit found of one secret. */
export interface SecretFacts {
  readonly secret: string;
  readonly failed: boolean;
  /** Null where it is not known, or has no value. */
  readonly found: Found | null;
  readonly live: LiveFacts | null;
}

/** How visits go, over all of them. Times: epoch ms. */
export interface VisitFacts {
  readonly at: number;
  /** Null while none has gone well. */
  readonly lastSuccessAt: number | null;
  /** How many in a row have not gone well, up to this one. */
  readonly failures: number;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const lastSuccess = 'keyturn_run_last_success_timestamp_seconds';
const failuresInARow = 'keyturn_run_failures';

/** The text format of Prometheus, version 0.0.4. All metrics are gauges: a cron job keeps no counts. */
export function metricsText(visit: VisitFacts, secrets: readonly SecretFacts[]): string {
  return [...visitFamilies(visit, secrets), ...secretFamilies(secrets)].map(familyText).join('');
}

function visitFamilies(
  { at, lastSuccessAt, failures }: VisitFacts,
  secrets: readonly SecretFacts[],
): readonly Family[] {
  const one = (name: string, help: string, value: number | null): Family => ({
    name,
    help,
    samples: value === null ? [] : [{ labels: {}, value }],
  });
  return [
    one('keyturn_run_last_timestamp_seconds', 'When keyturn run last looked.', at / 1_000),
    one(
      lastSuccess,
      'When keyturn run last looked and nothing failed.',
      lastSuccessAt === null ? null : lastSuccessAt / 1_000,
    ),
    one(failuresInARow, 'Visits in a row, up to the last one, in which something failed.', failures),
    one('keyturn_run_secrets', 'Secrets that the last visit looked at.', secrets.length),
  ];
}

function secretFamilies(secrets: readonly SecretFacts[]): readonly Family[] {
  const each = (name: string, help: string, valueOf: (facts: SecretFacts) => number | null): Family => ({
    name,
    help,
    samples: secrets.flatMap((facts) => {
      const value = valueOf(facts);
      return value === null ? [] : [{ labels: { secret: facts.secret }, value }];
    }),
  });
  const seconds = (ms: number | null | undefined): number | null => (typeof ms === 'number' ? ms / 1_000 : null);
  const flag = (is: boolean | undefined): number | null => (is === undefined ? null : Number(is));
  return [
    each('keyturn_secret_failed', '1 where the last visit failed for this secret.', ({ failed }) => Number(failed)),
    each('keyturn_secret_due_timestamp_seconds', 'When the next rotation by schedule is due.', ({ found }) =>
      seconds(found?.due.at),
    ),
    each('keyturn_secret_overdue', '1 where that moment has passed.', ({ found }) => flag(found?.due.overdue)),
    each(
      'keyturn_secret_accepted_versions',
      'Versions that verifiers accept; 1 where nothing is under way.',
      ({ found }) => (found === null ? null : found.accepted),
    ),
    each('keyturn_secret_primary_created_timestamp_seconds', 'When the primary version was made.', ({ found }) =>
      seconds(found?.primaryCreatedAt),
    ),
    each(
      'keyturn_secret_run_step',
      `The step of the live run: ${steps.map((step, index) => `${String(index + 1)} ${step}`).join(', ')}; 0 where none is live.`,
      (facts) => ofRun(facts, ({ step }) => steps.indexOf(step) + 1),
    ),
    each('keyturn_secret_run_started_timestamp_seconds', 'When the live run was started.', ({ live }) =>
      seconds(live?.run.startedAt),
    ),
    each('keyturn_secret_held', '1 where the live run stands still until a person lets it go on.', (facts) =>
      ofRun(facts, ({ wait }) => Number(wait !== null && isHeld(wait))),
    ),
    {
      name: 'keyturn_secret_waiting',
      help: '1 for each check that the live run waits for.',
      samples: secrets.flatMap(({ secret, live }) =>
        failing(live?.wait?.checks ?? []).map(({ name }) => ({ labels: { secret, check: name }, value: 1 })),
      ),
    },
  ];
}

/** 0 where no run is live; nothing where that is not known. */
function ofRun({ live, failed }: SecretFacts, valueOf: (live: LiveFacts) => number): number | null {
  if (live !== null) return valueOf(live);
  return failed ? null : 0;
}

function familyText({ name, help, samples }: Family): string {
  if (samples.length === 0) return '';
  const head = `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} gauge\n`;
  return head + samples.map(({ labels, value }) => `${name}${labelsText(labels)} ${String(value)}\n`).join('');
}

function labelsText(labels: Sample['labels']): string {
  const escaped = (value: string): string =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join()}}`;
}

/** What is known of the secrets after a visit; read anew only where the visit does not tell. */
export async function secretFacts(
  orchestrator: Orchestrator,
  visits: readonly Visit[],
  now: number,
): Promise<readonly SecretFacts[]> {
  const facts: SecretFacts[] = [];
  for (const visit of visits) facts.push(await factsOf(orchestrator, visit, now));
  return facts;
}

async function factsOf(orchestrator: Orchestrator, visit: Visit, now: number): Promise<SecretFacts> {
  const { secret } = visit;
  const failed = failureOf(visit) !== null;
  if (visit.kind === 'idle' && visit.found !== null) return { secret, failed, found: visit.found, live: null };
  if (visit.kind === 'failed' || visit.kind === 'absent') return { secret, failed, found: null, live: null };
  if (visit.kind === 'advanced' && visit.advance.kind === 'waiting') {
    const { run, wait, seen } = visit.advance;
    const keyring = seen.keyring.state === 'present' ? seen.keyring.keyring : null;
    const found = foundIn(keyring, dueOf(run.policy, keyring, null, now));
    return { secret, failed, found, live: { run, step: wait.step, wait } };
  }
  const { keyring, due, live } = await orchestrator.look(secret);
  const wait = live?.next.kind === 'wait' ? live.next : null;
  return {
    secret,
    failed,
    found: foundIn(keyring, due),
    live: live === null ? null : { run: live.run, step: live.next.step, wait },
  };
}

function foundIn(keyring: Keyring | null, due: Due): Found | null {
  const primary = keyring === null ? null : primaryOf(keyring);
  if (keyring === null || primary === null) return null;
  return { due, accepted: acceptedVersions(keyring).length, primaryCreatedAt: Date.parse(primary.createdAt) };
}

/** Who collects metrics may be anybody on the machine; there is no value of a secret in them. */
const mode = 0o644;

/** The file that Prometheus's node exporter reads. It is replaced whole, and the next process goes on where one ended. */
export class MetricsFile {
  readonly #path: string;
  readonly #deps: { readonly clock: Clock; readonly random: Random };

  constructor(path: string, deps: { readonly clock: Clock; readonly random: Random }) {
    this.#path = path;
    this.#deps = deps;
  }

  /** After a visit; null: it failed before it came to any secret. Throws `metrics-unwritable`. */
  async write(secrets: readonly SecretFacts[] | null): Promise<void> {
    const at = this.#deps.clock.now();
    const before = await this.#before();
    const isWell = secrets?.every(({ failed }) => !failed) ?? false;
    const visit = isWell
      ? { at, lastSuccessAt: at, failures: 0 }
      : { at, lastSuccessAt: before.lastSuccessAt, failures: before.failures + 1 };
    await this.#replace(metricsText(visit, secrets ?? []));
  }

  /** What the file says of the visits before; a file that is gone, or is no such file, says nothing. */
  async #before(): Promise<Pick<VisitFacts, 'lastSuccessAt' | 'failures'>> {
    const text = await readFile(this.#path, 'utf8').catch(() => '');
    const valueOf = (name: string): number => Number(new RegExp(`^${name} ([\\d.]+)$`, 'm').exec(text)?.[1] ?? NaN);
    const [success, failures] = [valueOf(lastSuccess), valueOf(failuresInARow)];
    return { lastSuccessAt: success >= 0 ? success * 1_000 : null, failures: failures >= 0 ? failures : 0 };
  }

  async #replace(text: string): Promise<void> {
    // The exporter reads whatever ends in .prom.
    const temporary = `${this.#path}.${Buffer.from(this.#deps.random.bytes(8)).toString('hex')}.tmp`;
    try {
      const file = await open(temporary, 'wx', mode);
      try {
        await file.chmod(mode);
        await file.writeFile(text);
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw unwritable(this.#path, error);
    }
  }
}

function unwritable(path: string, cause: unknown): KeyturnError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  return new KeyturnError('metrics-unwritable', `The metrics file ${path} cannot be written (${code}).`, {
    hint: 'Name a file in a folder that is there and that keyturn may write to.',
    cause,
    details: { path, system: code },
  });
}
