import { describe, inject, it } from 'vitest';
import type {} from './global-setup.ts';
import type { RunningServer, ServerName } from './types.ts';

/**
 * Tests on a server. Where it is not up they are one visible skip with the command that brings it, and a failure where
 * KEYTURN_TEST_REQUIRE is 1.
 */
export function describeOn(name: ServerName, title: string, tests: (server: RunningServer) => void): void {
  const server = inject('servers')[name];
  if (server !== undefined) {
    describe(title, () => tests(server));
    return;
  }
  describe(title, () => {
    it(`on the server ${name}`, ({ skip }) => {
      const why = `${name} is not up: npm run servers -- up ${name}`;
      if (process.env['KEYTURN_TEST_REQUIRE'] === '1') throw new Error(why);
      skip(why);
    });
  });
}
