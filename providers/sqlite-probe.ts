import { finding, ok } from '../src/ports/probe.ts';
import type { ProbeFinding } from '../src/ports/secret-store.ts';
import type { Clock } from '../src/ports/system.ts';
import { patiently, type DatabaseKind, type Session } from './sqlite-session.ts';

/** Whether the file is whole, and whether this process may write to it: a transaction that changes nothing shows both. */
export async function probeSession(
  clock: Clock,
  { noun, migrations }: Pick<DatabaseKind, 'noun' | 'migrations'>,
  use: <T>(work: (session: Session) => T) => T,
): Promise<readonly ProbeFinding[]> {
  const it = noun.toLowerCase();
  const integrity = await finding('integrity', async () => {
    await patiently(clock, () => use((session) => session.checkIntegrity()));
    return ok('integrity', `Every page of ${it} is whole; its format is ${String(migrations.length)}.`);
  });
  const write = await finding('write', async () => {
    await patiently(clock, () => use((session) => session.write(() => undefined)));
    return ok('write', `This user may write to ${it}.`);
  });
  return [integrity, write];
}
