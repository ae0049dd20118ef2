import { hostname } from 'node:os';
import type { Policy } from '../src/model/policy.ts';
import type { Examination } from '../src/ports/examination.ts';
import type { Log } from '../src/ports/log.ts';
import { tracedJournal, tracedUsageLog } from '../src/ports/trace.ts';
import { credentialFindings } from './credential-findings.ts';
import { diskFindings } from './local-place.ts';
import { reachHost } from './reach.ts';
import { places, registry } from './registry.ts';
import { journalCredentials, storesOf, surroundings, watchedBy } from './watched.ts';

const looking = { ...surroundings, keepsModes: true };

/** What `doctor` looks at, by the policy. */
export function openExamination(policy: Policy, log: Log): Examination {
  const watched = watchedBy(log);
  const stores = storesOf(policy, watched);
  const opened: { close(): Promise<void> }[] = [];
  const closing = <T extends { close(): Promise<void> }>(port: T): T => {
    opened.push(port);
    return port;
  };
  return {
    host: hostname(),
    credentials: (secrets, use) => credentialFindings(policy, secrets, use),
    async store(name) {
      const settings = policy.stores[name];
      const findings = settings?.kind === 'file' ? diskFindings(settings.path) : [];
      return { findings, port: await stores.open(name) };
    },
    async journal() {
      const { findings, mayOpen } = await places.journals[policy.journal.kind](policy.journal);
      if (!mayOpen) return { findings, port: null };
      const open = registry.journals[policy.journal.kind];
      const journal = await open(policy.journal, looking, journalCredentials(policy, watched));
      return { findings, port: tracedJournal(closing(journal), watched) as typeof journal };
    },
    async usage() {
      const { findings, mayOpen } = await places.usage[policy.usage.kind](policy.usage);
      if (!mayOpen) return { findings, port: null };
      const usage = await registry.usage[policy.usage.kind](policy.usage, looking);
      return { findings, port: tracedUsageLog(closing(usage), watched) };
    },
    reach: (origin, signal) => reachHost(origin, surroundings.clock, signal),
    async close() {
      for (const each of opened) await each.close();
      await stores.close();
    },
  };
}
