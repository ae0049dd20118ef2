import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { policyJsonSchema, policyShape } from '../src/model/policy/schema.ts';

/** Writes what is generated from the one schema of the policy; with `--check` it only compares. */

const generated = {
  '../rotation-policy.schema.json': policyJsonSchema(),
  '../src/model/policy/shape.json': policyShape(),
};

for (const [file, content] of Object.entries(generated)) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const text = `${JSON.stringify(content, null, 2)}\n`;
  if (process.argv.includes('--check')) {
    const kept = await readFile(path, 'utf8').catch(() => '');
    if (kept === text) continue;
    process.stderr.write(`${path} is not what the schema of the policy says. Write it anew: node bin/schema.ts\n`);
    process.exitCode = 1;
  } else {
    await writeFile(path, text);
  }
}
