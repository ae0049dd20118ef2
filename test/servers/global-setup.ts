import type { TestProject } from 'vitest/node';
import { keepServerLines } from './lines.ts';
import { findAll, lines } from './running.ts';
import type { RunningServer, ServerName } from './types.ts';

declare module 'vitest' {
  interface ProvidedContext {
    servers: Readonly<Partial<Record<ServerName, RunningServer>>>;
  }
}

/**
 * Looks which servers are up. None is started here: that takes seconds and leaves processes, and whoever changes one line
 * wants to run one test. `npm run servers -- up` starts them.
 */
export default async function setup(project: TestProject): Promise<void> {
  const found = await findAll();
  project.provide('servers', Object.fromEntries(found));
  keepServerLines(lines(found));
}
