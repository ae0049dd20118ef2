import { readFile } from 'node:fs/promises';
import type { Fault, KnownHead } from '../../decide/audit-walk.ts';
import { formatTime } from '../../model/duration.ts';
import { KeyturnError, messageOf } from '../../model/errors.ts';
import type { Audit, AuditHead } from '../../orchestrator/audit.ts';
import type { Orchestrator } from '../../orchestrator/orchestrator.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { jsonTime } from '../output.ts';

interface AuditFlags {
  readonly head?: string;
  readonly headFile?: string;
  readonly reason?: string;
}

type Act = (context: Context, orchestrator: Orchestrator, flags: AuditFlags) => Promise<Exit>;

const acts: Readonly<Record<string, { readonly act: Act; readonly takes: readonly (keyof AuditFlags)[] }>> = {
  verify: { act: verify, takes: ['head', 'headFile'] },
  head: { act: head, takes: [] },
  seal: { act: seal, takes: ['reason'] },
};

const flagNames: Readonly<Record<keyof AuditFlags, string>> = {
  head: '--head',
  headFile: '--head-file',
  reason: '--reason',
};

/** Verifies the audit trail, prints its head, or has it sealed with the key of the policy from now on. */
export async function audit(context: Context, [name = '']: readonly string[], options: object): Promise<Exit> {
  const flags = options as AuditFlags;
  const chosen = Object.hasOwn(acts, name) ? acts[name] : undefined;
  if (chosen === undefined) {
    throw usage(
      `"${name}" is nothing that can be done with the audit trail.`,
      `Say one of ${Object.keys(acts).join(', ')}.`,
    );
  }
  for (const flag of Object.keys(flagNames) as (keyof AuditFlags)[]) {
    if (flags[flag] === undefined || chosen.takes.includes(flag)) continue;
    throw usage(`keyturn audit ${name} takes no ${flagNames[flag]}.`, 'keyturn audit --help');
  }
  return withOrchestrator(context, (orchestrator) => chosen.act(context, orchestrator, flags));
}

function usage(message: string, hint: string): KeyturnError {
  return new KeyturnError('usage', message, { hint });
}

async function verify(context: Context, orchestrator: Orchestrator, flags: AuditFlags): Promise<Exit> {
  const { output, signal } = context;
  const known = await knownHead(flags);
  const found = await orchestrator.verifyAudit({
    known,
    signal,
    onProgress: (events) => {
      if (output.terminal !== null && events % 100_000 === 0) output.progress(`${String(events)} events verified …`);
    },
  });
  output.result(verifyLines(found, known), () => verifyJson(found, known));
  return found.fault === null ? exit.ok : exit.refused;
}

function verifyLines(found: Audit, known: KnownHead | null): readonly string[] {
  const { walk, fault, head: present } = found;
  if (fault !== null) {
    return [
      `The audit trail of journal ${found.journal} is not as it was written.`,
      `  ${fault.message}`,
      ...placeLines(found, fault),
    ];
  }
  const knownWords = {
    found: `The given head is in it: nothing up to event ${String(known?.id)} was changed or cut off.`,
    pruned: `Event ${String(known?.id)}, which the given head is of, has been pruned since. Print a new head, and verify against that one.`,
    ahead: '',
  }[walk.known];
  return [
    `The audit trail of journal ${found.journal} is whole: ${counted(walk.events, 'event')}, ${String(walk.pruned)} pruned.`,
    ...[startWords(present.start), ...sealWords(found), knownWords].flatMap((line) =>
      line === '' ? [] : [`  ${line}`],
    ),
  ];
}

function startWords(start: number): string {
  return start === 0
    ? ''
    : `Events up to ${String(start)} were written by an earlier version of keyturn and are not in the chain.`;
}

function sealWords({ head: { keyId, sealedFrom } }: AuditHead): readonly string[] {
  if (keyId === null || sealedFrom === null) {
    return [
      'It has no key: whoever can write the journal can make the chain anew. Keep a head elsewhere, or name a journal.auditKey.',
    ];
  }
  return [`Sealed with the key ${keyId} from event ${String(sealedFrom)} on.`];
}

/** What stands at the place of the fault, and between which moments it lies. */
function placeLines({ writtenAfter, writtenBefore }: Audit, { event }: Fault): readonly string[] {
  const times = [
    ...(writtenAfter === null
      ? []
      : [`  All before it is as it was written, the last of it at ${formatTime(writtenAfter)}.`]),
  ];
  if (event === null) return times;
  const at = writtenBefore === null || !isTime(writtenBefore) ? 'no time' : formatTime(writtenBefore);
  return [`  There now: ${at}  ${event.secret}  ${event.event}  ${event.message}`, ...times];
}

function isTime(ms: number): boolean {
  return Math.abs(ms) <= 8.64e15;
}

function verifyJson(found: Audit, known: KnownHead | null): object {
  const { walk, fault, writtenAfter } = found;
  const event = fault?.event ?? null;
  return {
    format: 'keyturn.audit-verify/1',
    whole: fault === null,
    ...headFields(found),
    events: walk.events,
    pruned: walk.pruned,
    givenHead:
      known === null ? null : { head: headText(known), found: walk.known === 'found', pruned: walk.known === 'pruned' },
    fault:
      fault === null
        ? null
        : {
            ...{ kind: fault.kind, id: fault.id, lastId: fault.lastId, message: fault.message },
            at: event === null || !isTime(event.at) ? null : jsonTime(event.at),
            ...{ secret: event?.secret ?? null, event: event?.event ?? null },
            wholeUntil: jsonTime(writtenAfter),
          },
  };
}

async function head({ output }: Context, orchestrator: Orchestrator): Promise<Exit> {
  const found = await orchestrator.auditHead();
  output.result(
    [
      headText(found.head),
      `  Event ${String(found.head.id)} of journal ${found.journal} is the newest of ${counted(found.head.id - found.head.start, 'event')} in the chain.`,
      ...sealWords(found).map((line) => `  ${line}`),
      `  To ask later whether all of them are there: keyturn audit verify --head ${headText(found.head)}`,
    ],
    () => ({ format: 'keyturn.audit-head/1', ...headFields(found) }),
  );
  return exit.ok;
}

function headFields({ journal, head: present }: AuditHead): object {
  const { id, hash, start, keyId, sealedFrom } = present;
  return {
    ...{ journal, head: headText(present), count: id - start, id, hash },
    ...{ keyed: keyId !== null, keyId, sealedFrom, chainedFrom: start + 1 },
  };
}

function headText({ id, hash }: KnownHead): string {
  return `${String(id)}:${hash}`;
}

async function seal({ output }: Context, orchestrator: Orchestrator, { reason }: AuditFlags): Promise<Exit> {
  if (reason === undefined) throw usage('keyturn audit seal needs a --reason.', 'It stands in the audit trail.');
  const keyId = await orchestrator.sealAudit(reason);
  if (keyId === null) {
    throw usage(
      'The policy names no key to seal the audit trail with.',
      'Make one, openssl rand -hex 32 > audit.key, and name it: "journal": { "kind": "sqlite", "auditKey": { "file": "audit.key" } }',
    );
  }
  output.result(`The audit trail is sealed with the key ${keyId} from now on.`, () => ({
    format: 'keyturn.audit-seal/1',
    keyId,
  }));
  return exit.ok;
}

/** The head that was given, from the command line or out of what `keyturn audit head` printed. */
async function knownHead({ head: text, headFile }: AuditFlags): Promise<KnownHead | null> {
  if (text !== undefined && headFile !== undefined) {
    throw usage('--head and --head-file both name a head.', 'Give one of them.');
  }
  if (text !== undefined) return headOf(text, /^(\d{1,15}):([0-9a-f]{64})$/, `"${text.slice(0, 80)}"`);
  if (headFile === undefined) return null;
  return headOf(await textOf(headFile), /(?<![0-9a-f])(\d{1,15}):([0-9a-f]{64})(?![0-9a-f])/, `What is in ${headFile}`);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw usage(
      `The head cannot be read: ${messageOf(error)}.`,
      'Name the file that keyturn audit head was written to.',
    );
  }
}

function headOf(text: string, pattern: RegExp, what: string): KnownHead {
  const [, id, hash] = pattern.exec(text) ?? [];
  if (id !== undefined && hash !== undefined) return { id: Number(id), hash };
  throw usage(
    `${what} is no head of an audit trail.`,
    'It is what keyturn audit head prints first: a number, a colon and 64 hexadecimal digits.',
  );
}

function counted(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? '' : 's'}`;
}
