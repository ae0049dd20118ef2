import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { policyJsonSchema } from '../src/model/policy/schema.ts';

/** Writes `rotation-policy.schema.json` from the one schema of the policy; with `--check` it only compares. */

const path = fileURLToPath(new URL('../rotation-policy.schema.json', import.meta.url));
const text = `${JSON.stringify(policyJsonSchema(), null, 2)}\n`;

if (process.argv.includes('--check')) {
  const shipped = await readFile(path, 'utf8').catch(() => '');
  if (shipped !== text) {
    process.stderr.write(`${path} is not what the schema of the policy says. Write it anew: node bin/schema.ts\n`);
    process.exitCode = 1;
  }
} else {
  await writeFile(path, text);
}
