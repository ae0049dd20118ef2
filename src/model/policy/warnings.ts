import { cronTimes } from '../calendar.ts';
import { formatDuration, parseDuration } from '../duration.ts';
import type { Policy, SecretPolicy } from '../policy.ts';
import type { Findings } from './findings.ts';
import { builtIn, mergeSecrets, statedAt, type MergedSecret } from './merge.ts';
import type { PolicyFile } from './schema.ts';
import { valueAt, type Path } from './text.ts';
import { blackoutsOf, type PlacedBlackout } from './times.ts';
import { isLoopbackUpstream } from './upstream.ts';

/** Settings that are allowed and that somebody should know of (R-14): what can happen, and what to do. */
export function findWarnings(file: PolicyFile, policy: Policy, findings: Findings): void {
  const blackouts = blackoutsOf(file);
  for (const secret of mergeSecrets(file)) {
    const subject = createSubject(secret, findings);
    warnOfName(file, subject);
    warnOfAge(subject);
    warnOfGates(subject);
    warnOfTimeout(subject);
    warnOfRetries(subject);
    warnOfReceivers(subject);
    warnOfCutover(subject);
    warnOfCanary(subject);
    warnOfBlackouts(blackouts(secret.environment), subject, findings);
  }
  warnOfSharedCalls(policy.secrets, findings);
  warnOfSharedCanaries(policy.secrets, findings);
  warnOfPlainMirrors(policy, findings);
}

/** One secret in one environment, as a warning looks at it. */
interface Subject {
  readonly secret: MergedSecret;
  readonly isProduction: boolean;
  readonly isLoopback: boolean;
  /** The duration at `path`, or the one that holds without it. */
  readonly duration: (path: Path, fallback: string) => Told;
  /** Says it of the field at `path`; where nothing states it, of what would hold it. */
  readonly say: (path: Path, what: string, advice: string) => void;
}

/** A duration in ms, and as it is to be told. */
interface Told {
  readonly ms: number;
  readonly text: string;
}

function createSubject(secret: MergedSecret, findings: Findings): Subject {
  const { environment, fields, name } = secret;
  const isLoopback = fields.upstream !== undefined && isLoopbackUpstream(fields.upstream);
  return {
    secret,
    isProduction: environment === null ? !isLoopback : environment.toLowerCase().startsWith('prod'),
    isLoopback,
    duration: (path, fallback) => {
      const stated = valueAt(fields, path);
      const text = typeof stated === 'string' ? stated : fallback;
      return { ms: parseDuration(text) ?? 0, text: `"${text}"` };
    },
    say: (path, what, advice) => {
      const stated = path.map((_, index) => statedAt(secret, path.slice(0, path.length - index)));
      const place = stated.find((one) => one !== null) ?? ['secrets', name];
      const at = stated[0] === place ? 'value' : 'key';
      findings.add(place, what, { at, environment, advice });
    },
  };
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The expression of `naming`, which stands for the whole of a name. Throws a `SyntaxError` where it is none. */
export function wholeName(naming: string): RegExp {
  return new RegExp(`^(?:${naming})$`, 'u');
}

function warnOfName({ naming }: PolicyFile, { secret, say }: Subject): void {
  if (naming === undefined || wholeName(naming).test(secret.name)) return;
  say(
    [],
    'its name does not match naming: who goes by the pattern will not find it',
    'Rename it, or correct the pattern',
  );
}

function warnOfAge({ duration, say, secret }: Subject): void {
  if (secret.fields.rotateEvery === undefined)
    say([], 'has no rotateEvery: it is never rotated by age', 'State one, such as "30d"');
  else if (duration(['rotateEvery'], '').ms > 90 * dayMs)
    say(
      ['rotateEvery'],
      'rotateEvery is above "90d": a value that leaked unnoticed is good for long',
      'Rotate more often',
    );
}

const gate = {
  grace: ['gates', 'grace'],
  quiet: ['gates', 'quiet'],
  timeout: ['gates', 'timeout'],
  retryTail: ['gates', 'retryTail'],
} as const;

function graceOf({ duration }: Subject): Told {
  return duration(gate.grace, builtIn.gates.grace);
}

function quietOf({ duration }: Subject): Told {
  return duration(gate.quiet, builtIn.gates.quiet);
}

function warnOfGates(subject: Subject): void {
  const { duration, say, isProduction } = subject;
  const [grace, quiet] = [graceOf(subject), quietOf(subject)];
  const refresh = duration(['receivers', 'refreshEvery'], builtIn.receivers.refreshEvery);
  const report = duration(['receivers', 'reportEvery'], builtIn.receivers.reportEvery);
  if (isProduction && grace.ms < hourMs)
    say(
      gate.grace,
      `grace (${grace.text}) is below "1h" in production: deliveries that are long under way may be refused`,
      'Leave it out: the default is "1h"',
    );
  if (isProduction && quiet.ms < hourMs / 2)
    say(
      gate.quiet,
      `quiet (${quiet.text}) is below "30m" in production: a sender of the old value that is seldom heard may be missed`,
      'Leave it out: the default is "30m"',
    );
  if (grace.ms < refresh.ms)
    say(
      gate.grace,
      `grace (${grace.text}) is shorter than refreshEvery (${refresh.text}): when it ends, a receiver may not have read yet what changed`,
      'Make grace longer, or refresh more often',
    );
  if (quiet.ms < 2 * report.ms)
    say(
      gate.quiet,
      `quiet (${quiet.text}) is shorter than two reports (reportEvery is ${report.text}): a use may be reported only after the time was taken for quiet`,
      'Make quiet longer, or report more often',
    );
}

const capability = {
  retriesResigned: ['upstream', 'capabilities', 'retriesResigned'],
  retryHorizon: ['upstream', 'capabilities', 'retryHorizon'],
  redelivers: ['upstream', 'capabilities', 'redelivers'],
} as const;

/** The horizon of retries that the old version signed; 0 where there are none. */
function tailOf({ duration, secret }: Subject): Told {
  const { retriesResigned } = secret.fields.upstream?.capabilities ?? {};
  const horizon = duration(capability.retryHorizon, builtIn.capabilities.retryHorizon);
  return retriesResigned === 'yes' ? { ms: 0, text: horizon.text } : horizon;
}

function isTailIgnored({ secret }: Subject): boolean {
  return (secret.fields.gates?.retryTail ?? builtIn.gates.retryTail) === 'ignore';
}

function warnOfTimeout(subject: Subject): void {
  const { duration, say, secret } = subject;
  const timeout = duration(gate.timeout, builtIn.gates.timeout);
  const tail = tailOf(subject);
  const watched = graceOf(subject).ms + quietOf(subject).ms;
  const needs = (what: string): string => `timeout (${timeout.text}) is shorter than ${what}`;
  if (timeout.ms < tail.ms && !isTailIgnored(subject))
    say(
      gate.timeout,
      `${needs(`the retry horizon (${tail.text})`)}: receivers or traffic that are waited for meanwhile may hold the run`,
      'Make it longer than the horizon',
    );
  if (timeout.ms < watched)
    say(
      gate.timeout,
      `${needs(`grace and quiet together ("${formatDuration(watched)}")`)}: a rotation that goes as it should may be held`,
      'Make it longer than both',
    );
  if ((secret.fields.approvals ?? 0) > 0 && timeout.ms < dayMs)
    say(
      gate.timeout,
      `${needs('a day')}, and people have to approve: an approval on the next morning comes too late, and the run is held`,
      'Make it "24h" or longer',
    );
}

function warnOfRetries(subject: Subject): void {
  const { say, secret, isLoopback } = subject;
  const { retriesResigned, redelivers = false } = secret.fields.upstream?.capabilities ?? {};
  const tail = tailOf(subject);
  if (tail.ms > 0 && isTailIgnored(subject))
    say(
      gate.retryTail,
      `retryTail is "ignore": for ${tail.text} after a failed delivery its retry may still come, signed with the old version, and it is refused once that is revoked`,
      'State "respect", unless those messages may be lost',
    );
  if (retriesResigned !== undefined && retriesResigned !== 'yes' && tail.ms === 0)
    say(
      capability.retryHorizon,
      'states that the upstream never retries: if it does, a retry that the old version signed is refused once that is revoked',
      "Make sure by the upstream's documentation, or state for how long retries come",
    );
  if (!redelivers && !isLoopback)
    say(
      capability.redelivers,
      'redelivers is false: a delivery that is answered 503 is lost, and a receiver that falls silent before the switch waits for a person',
      'State "redelivers": true if the upstream sends such a delivery again',
    );
}

function warnOfReceivers({ secret, say, isProduction }: Subject): void {
  const { expect = 1, pools, reporting = 'required' } = secret.fields.receivers ?? {};
  const uncounted = (path: Path): void =>
    say(
      path,
      'gives no coverage, so nothing shows that the old version is unused there: every rotation waits for a person',
      'Let receivers that stay report, or have somebody who confirms each rotation',
    );
  const counted = (path: Path, count: number | undefined): void => {
    if (!isProduction || count !== 1) return;
    say(
      path,
      'expects one receiver in production: if there are more, one that does not report yet is not waited for',
      'State how many there are',
    );
  };
  if (pools === undefined && reporting === 'none') uncounted(['receivers', 'reporting']);
  else if (pools === undefined) counted(['receivers', 'expect'], expect);
  for (const [name, pool] of Object.entries(pools ?? {})) {
    const path = ['receivers', 'pools', name];
    if (pool?.ephemeral === true || (pool?.reporting ?? reporting) === 'none') uncounted(path);
    else counted([...path, 'expect'], pool?.expect);
  }
}

/** The calendar repeats after 400 years, so what does not come after this moment never does. */
const anyMoment = Date.parse('2000-01-01T00:00:00Z');

function warnOfCutover({ secret, say, duration }: Subject): void {
  const { cutover, upstream } = secret.fields;
  if (cutover?.cron === undefined) return;
  const length = duration(['cutover', 'duration'], '');
  const call = duration(['upstream', 'steps', 'activate', 'timeout'], builtIn.step.timeout);
  if (upstream !== undefined && length.ms < call.ms)
    say(
      ['cutover', 'duration'],
      `the window is open for ${length.text}, and one call to the upstream may take ${call.text}: an update may end outside of it`,
      'Make the window longer',
    );
  if (cronTimes(cutover.cron, cutover.timezone ?? builtIn.timezone).next(anyMoment) === null)
    say(
      ['cutover', 'cron'],
      'never opens, for no day of any year is meant by it: every update would wait for ever',
      'Correct day and month',
    );
}

function warnOfCanary({ secret, say }: Subject): void {
  const { canary, scheme } = secret.fields;
  if (canary === undefined || scheme !== undefined) return;
  say(
    ['canary'],
    'no canary is sent: a canary is a signed message, and this secret has no scheme to sign by',
    'State its scheme, or leave the canary out',
  );
}

function warnOfBlackouts(
  blackouts: readonly PlacedBlackout[],
  { secret, duration }: Subject,
  findings: Findings,
): void {
  if (secret.fields.rotateEvery === undefined) return;
  const every = duration(['rotateEvery'], '');
  for (const { from, until, index } of joined(blackouts)) {
    if (until - from <= every.ms) continue;
    const what = `lasts longer than rotateEvery (${every.text}) of ${secret.name}: its value gets older than it may`;
    const { environment } = secret;
    findings.add(['blackouts', index], what, { environment, advice: 'Shorten it, or rotate right before it' });
  }
}

/** Those that follow upon each other without a gap as one, at the place of the first. */
function joined(blackouts: readonly PlacedBlackout[]): readonly PlacedBlackout[] {
  return blackouts.reduce<readonly PlacedBlackout[]>((done, each) => {
    const last = done.at(-1);
    if (last === undefined || each.from > last.until) return [...done, each];
    return [...done.slice(0, -1), { ...last, until: Math.max(last.until, each.until) }];
  }, []);
}

/** Two secrets in one setting of an upstream: a rotation of one would quietly end the other. */
function warnOfSharedCalls(secrets: readonly SecretPolicy[], findings: Findings): void {
  const calls = new Map<string, SecretPolicy>();
  for (const secret of secrets) {
    const call = JSON.stringify([secret.upstream.steps.activate, secret.upstream.credentials]);
    const other = calls.get(call);
    if (other === undefined) calls.set(call, secret);
    else {
      const message = `makes the same call for ${other.secret} and ${secret.secret}, so a rotation of one replaces the value of the other`;
      const advice = 'Tell them apart by url or body, where {{environment}} and {{tenant}} may stand';
      findings.add(['secrets', secret.name], message, { at: 'key', advice });
    }
  }
}

/** A receiver knows by the request alone which secret it is of, and at one url all canaries look the same. */
function warnOfSharedCanaries(secrets: readonly SecretPolicy[], findings: Findings): void {
  const urls = new Map<string, SecretPolicy>();
  for (const secret of secrets) {
    if (secret.canary === undefined) continue;
    const other = urls.get(secret.canary.url);
    if (other === undefined) urls.set(secret.canary.url, secret);
    else {
      const message = `sends the canaries of ${other.secret} and ${secret.secret} to one url, where a receiver cannot tell them apart: it refuses those of one, whose runs then wait`;
      const advice = 'Give each the url of its own deliveries, where {{environment}} and {{tenant}} may stand';
      findings.add(['secrets', secret.name], message, { at: 'key', advice });
    }
  }
}

/** Who encrypts keyrings may think that nothing in the store is plain. */
function warnOfPlainMirrors({ secrets, stores }: Policy, findings: Findings): void {
  for (const { name, environment, store, mirrors } of secrets) {
    const settings = stores[store];
    if (mirrors.length === 0 || settings?.kind !== 'file' || settings.age === null) continue;
    const message = `its mirrors in the store ${store} are not encrypted, as its keyrings are: who reads the folder reads the value`;
    findings.add(['secrets', name], message, {
      at: 'key',
      environment,
      advice: 'Leave the mirrors out, or keep the folder from everybody else',
    });
  }
}
