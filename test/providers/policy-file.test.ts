import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPolicy, policyPath } from '../../providers/policy-file.ts';
import { smallest } from '../model/policy/fixture.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-policy-'));
  await mkdir(join(folder, 'empty'));
  for (const name of ['rotation-policy.json', 'variable.json', 'argument.json'])
    await writeFile(join(folder, name), smallest);
});

afterAll(() => rm(folder, { recursive: true }));

describe('the policy’s file', () => {
  it('is the argument, or KEYTURN_POLICY, or rotation-policy.json here', async () => {
    const env = { KEYTURN_POLICY: 'variable.json' };
    const sourceOf = async (path: string | undefined, variables: Record<string, string>) =>
      (await loadPolicy(path, variables, folder)).policy.source;
    expect(await sourceOf('argument.json', env)).toBe(join(folder, 'argument.json'));
    expect(await sourceOf(undefined, env)).toBe(join(folder, 'variable.json'));
    expect(await sourceOf(undefined, {})).toBe(join(folder, 'rotation-policy.json'));
    expect(await sourceOf(undefined, { KEYTURN_POLICY: '' })).toBe(join(folder, 'rotation-policy.json'));
    expect(policyPath(undefined, env, folder)).toBe(join(folder, 'variable.json'));
  });

  it('is where its paths start', async () => {
    const { policy } = await loadPolicy(join(folder, 'argument.json'), {}, '/');
    expect(policy.journal.path).toBe(join(folder, '.keyturn/journal.db'));
  });

  it('that is not there says how to make one', async () => {
    await expect(loadPolicy(undefined, {}, join(folder, 'empty'))).rejects.toMatchObject({
      code: 'policy-missing',
      message: `There is no policy ${join(folder, 'empty/rotation-policy.json')}.`,
      hint: expect.stringContaining('keyturn init'),
    });
    await expect(loadPolicy('argument.json/x', {}, folder)).rejects.toMatchObject({
      code: 'policy-missing',
      message: expect.stringContaining('which --policy names'),
    });
    await expect(loadPolicy(undefined, { KEYTURN_POLICY: 'gone.json' }, folder)).rejects.toMatchObject({
      message: expect.stringContaining('which KEYTURN_POLICY names'),
    });
  });

  it('that is a folder says so', async () => {
    await expect(loadPolicy('empty', {}, folder)).rejects.toMatchObject({
      code: 'policy-missing',
      message: expect.stringContaining('is a folder'),
      hint: `Name the file in it: ${join(folder, 'empty/rotation-policy.json')}.`,
    });
  });

  it('that the system refuses says why', async () => {
    await expect(loadPolicy('x'.repeat(300), {}, folder)).rejects.toMatchObject({
      code: 'policy-missing',
      message: expect.stringContaining('cannot be read (ENAMETOOLONG)'),
    });
  });

  it('may begin with a byte order mark, and must be UTF-8', async () => {
    await writeFile(join(folder, 'bom.json'), `\uFEFF${smallest.replaceAll('\n', '\r\n')}`);
    expect((await loadPolicy('bom.json', {}, folder)).policy.secrets).toHaveLength(1);
    await writeFile(join(folder, 'latin1.json'), Buffer.from('{ "version": 1, "secrets": {} } // \xe4', 'latin1'));
    await expect(loadPolicy('latin1.json', {}, folder)).rejects.toMatchObject({
      code: 'policy-invalid',
      details: { problems: [{ path: '', message: 'the file is not UTF-8 text', line: 1, column: 1 }] },
    });
  });
});
