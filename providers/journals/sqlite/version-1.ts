import { parsed } from '../../sqlite-session.ts';
import type { DatabaseSync } from '../../sqlite.ts';

/**
 * The documents of version 1 as version 2 reads them. What they lack is written out here, and not taken from today's
 * types and defaults: a run that was frozen then goes on under what held then, whatever becomes of those.
 */

type Document = Readonly<Record<string, unknown>>;

/** Of a run, what is not merely added to. */
interface RunDocument extends Document {
  readonly to: string;
  readonly intents: readonly (Document & { readonly effect: string })[];
  readonly policy: Document & {
    readonly receivers: Document & { readonly pools: Readonly<Record<string, Document>> };
    readonly gates: Document;
    readonly upstream: Document & { readonly capabilities: Document };
  };
}

/** Writes every document anew; for use inside the migration's transaction. */
export function renewDocuments(database: DatabaseSync): void {
  database.function('renewed_run', (text) => JSON.stringify(renewedRun(parsed(text) as RunDocument)));
  database.function('renewed_move', (text) => JSON.stringify(renewedMove(parsed(text) as Document)));
  database.exec('UPDATE runs SET document = renewed_run(document); UPDATE moves SET document = renewed_move(document)');
}

function renewedRun(run: RunDocument): Document {
  const told = ['activate', 'reassert'];
  return {
    ...run,
    compromised: false,
    tookOver: null,
    policy: renewedPolicy(run.policy),
    gateClock: null,
    proven: null,
    intents: run.intents.map((intent) => ({ ...intent, version: told.includes(intent.effect) ? run.to : null })),
  };
}

function renewedPolicy({ receivers, gates, upstream, ...policy }: RunDocument['policy']): Document {
  const pools = Object.entries(receivers.pools).map(([name, pool]) => [
    name,
    { ...pool, reporting: 'required', ephemeral: false, maxAgeMs: null },
  ]);
  return {
    ...policy,
    receivers: { ...receivers, pools: Object.fromEntries(pools) as Document },
    gates: { ...gates, timeoutMs: 86_400_000, retryTail: 'respect' },
    approvals: 0,
    cutover: null,
    blackouts: [],
    mirrors: [],
    upstream: { ...upstream, capabilities: { ...upstream.capabilities, switchLagMs: 60_000 } },
  };
}

/** A step was not written down; none of the moves of then means anything else in another one. */
function renewedMove(move: Document): Document {
  return { ...move, step: 'deploy', check: null };
}
