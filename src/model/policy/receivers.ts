import { formatDuration, parseDuration } from '../duration.ts';
import type { Findings } from './findings.ts';
import { builtIn, placeOf, statedAt, strength, type Loose, type MergedSecret } from './merge.ts';
import type { PoolFields } from './schema.ts';
import type { Path } from './text.ts';

/** Checks of a secret's receivers that span fields. `complete`: as in `policy-checks.ts`. */
export function checkReceivers(secret: MergedSecret, complete: boolean, findings: Findings): void {
  for (const { path, fields } of secret.layers) {
    const { expect, pools } = fields.receivers ?? {};
    const place = [...path, 'receivers', 'pools'];
    if (expect !== undefined && pools !== undefined)
      findings.add(place, 'is instead of expect: state one of the two', { at: 'key' });
    if (pools !== undefined && Object.keys(pools).length === 0) findings.add(place, 'must name at least one pool');
  }
  checkMissingAfter(secret, findings);
  const place = statedAt(secret, ['receivers', 'pools']);
  for (const [name, pool] of Object.entries(secret.fields.receivers?.pools ?? {})) {
    if (place !== null && pool !== undefined) checkPool(secret, pool, { place: [...place, name], complete, findings });
  }
  const counted = statedAt(secret, ['receivers', 'expect']);
  if (counted !== null && saysNoReports(secret, 'expect')) findings.add(counted, countsReports, { at: 'key' });
}

const countsReports =
  'counts receivers that report, and reporting is "none": leave it out, or state "reporting": "required" beside it';

/** True where what states `field` comes after the word that nobody reports; a word from further out is overruled by it. */
function saysNoReports(secret: MergedSecret, field: 'expect' | 'pools'): boolean {
  const { receivers } = secret.fields;
  if (receivers?.reporting !== 'none' || receivers[field] === undefined) return false;
  return strength(secret, ['receivers', field]) >= strength(secret, ['receivers', 'reporting']);
}

interface PoolCheck {
  readonly place: Path;
  readonly complete: boolean;
  readonly findings: Findings;
}

function checkPool(secret: MergedSecret, pool: Loose<PoolFields>, { place, complete, findings }: PoolCheck): void {
  const { expect, ephemeral = false, maxAge } = pool;
  const reports = (pool.reporting ?? secret.fields.receivers?.reporting ?? 'required') === 'required';
  const unsure = ['ephemeral', 'reporting'].some((field) => findings.touches([...place, field]));
  const lacks = (field: string, value: unknown): boolean =>
    value === undefined && complete && !unsure && !findings.touches([...place, field]);
  if (ephemeral) {
    if (expect !== undefined)
      findings.add([...place, 'expect'], 'is for receivers that stay: an ephemeral pool has no number', { at: 'key' });
    if (lacks('maxAge', maxAge))
      findings.add(place, 'its maxAge is missing: say how old the snapshot of an ephemeral receiver may be', {
        at: 'key',
      });
    return;
  }
  if (maxAge !== undefined && !unsure)
    findings.add([...place, 'maxAge'], 'is for ephemeral pools: state "ephemeral": true beside it, or leave it out', {
      at: 'key',
    });
  if (expect !== undefined && (pool.reporting === 'none' || (!reports && saysNoReports(secret, 'pools'))))
    findings.add([...place, 'expect'], countsReports, { at: 'key' });
  if (reports && lacks('expect', expect))
    findings.add(place, 'its expect is missing: say how many receivers of this pool must be live', { at: 'key' });
}

function checkMissingAfter(secret: MergedSecret, findings: Findings): void {
  const { reportEvery = builtIn.receivers.reportEvery, missingAfter = builtIn.receivers.missingAfter } =
    secret.fields.receivers ?? {};
  const least = 3 * (parseDuration(reportEvery) ?? 0);
  const missing = parseDuration(missingAfter) ?? Infinity;
  if (missing >= least) return;
  const field = statedAt(secret, ['receivers', 'missingAfter']) === null ? 'reportEvery' : 'missingAfter';
  const message =
    `missingAfter ("${missingAfter}") must be at least three times reportEvery ("${reportEvery}"), ` +
    `so "${formatDuration(least).replaceAll(' ', '')}": one late report is no missing receiver`;
  findings.add(placeOf(secret, ['receivers', field]), message, { environment: secret.environment });
}
