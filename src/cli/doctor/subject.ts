import { formatDuration } from '../../model/duration.ts';
import type { ExaminedPlace } from '../../ports/examination.ts';
import { failed, ok, warning } from '../../ports/probe.ts';
import type { ProbeFinding, StoreCapabilities } from '../../ports/secret-store.ts';

/** What is looked at: one place, or one question. */
export interface Subject {
  readonly kind: 'credentials' | 'store' | 'journal' | 'usage' | 'upstream' | 'canary' | 'scheduler' | 'fleet';
  /** Its name in the policy, or its host; null where there is one of its kind. */
  readonly name: string | null;
  /** Kind and place, for people; null where it could not be opened, or is no place. */
  readonly place: string | null;
  /** Of the server; null where there is none, or it does not tell. */
  readonly version: string | null;
  /** How far its clock is ahead of this machine's, ms; null where it has none. */
  readonly clockAheadMs: number | null;
  /** In what a store differs from others; null for what is none, or could not be opened. */
  readonly capabilities: StoreCapabilities | null;
  readonly findings: readonly ProbeFinding[];
}

export function subject(kind: Subject['kind'], name: string | null, rest: Partial<Subject> = {}): Subject {
  return { kind, name, place: null, version: null, clockAheadMs: null, capabilities: null, findings: [], ...rest };
}

/** What is said of a place before it is opened, and what `look` finds in it; a place that cannot be opened is a finding. */
export async function examined<Port extends { readonly label: string }>(
  blank: Subject,
  open: () => Promise<ExaminedPlace<Port>>,
  look: (port: Port) => Promise<Pick<Subject, 'findings'> & Partial<Subject>>,
): Promise<Subject> {
  try {
    const { findings, port } = await open();
    if (port === null) return { ...blank, findings };
    const found = await look(port);
    return { ...blank, ...found, place: port.label, findings: [...found.findings, ...findings] };
  } catch (error) {
    return { ...blank, findings: [failed('open', error)] };
  }
}

/** How far two clocks may differ before what goes by both of them is in doubt, ms. */
const clockSlackMs = 5_000;

export function clockFindings(aheadMs: number | null): readonly ProbeFinding[] {
  if (aheadMs === null) return [];
  const by = formatDuration(Math.round(Math.abs(aheadMs) / 1_000) * 1_000);
  if (Math.abs(aheadMs) <= clockSlackMs) return [ok('clock', 'Its clock agrees with that of this machine.')];
  const how = aheadMs > 0 ? 'ahead of' : 'behind';
  return [warning('clock', `Its clock is ${by} ${how} that of this machine.`, 'Set the clocks right, by NTP.')];
}
