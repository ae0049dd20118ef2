import { describe, inject, it } from 'vitest';
import type {} from './global-setup.ts';
import type { RunningServer, ServerName } from './types.ts';

/**
 * Tests on a server. Where it is not up they are one visible skip with the command that brings it, and a failure where
 * KEYTURN_TEST_REQUIRE is 1, or names it among others.
 */
export function describeOn(
  name: ServerName,
  title: string,
  tests: (server: RunningServer) => void,
  options: { readonly concurrent?: boolean } = {},
): void {
  const server = inject('servers')[name];
  if (server !== undefined) {
    describe(title, options, () => tests(server));
    return;
  }
  describe(title, () => {
    it(`on the server ${name}`, ({ skip }) => {
      const why = `${name} is not up: npm run servers -- up ${name}`;
      const required = (process.env['KEYTURN_TEST_REQUIRE'] ?? '').split(' ');
      if (required.includes('1') || required.includes(name)) throw new Error(why);
      skip(why);
    });
  });
}
