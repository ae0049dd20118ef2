import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCredential, type CredentialContext } from '../../providers/credentials.ts';
import type { CredentialReference } from '../../src/model/policy.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-credential-'));
});

afterAll(() => rm(folder, { recursive: true }));

const context = (env: CredentialContext['env'] = {}): CredentialContext => ({
  folder,
  env,
  name: 'token',
  of: 'production/hook',
});

const fromEnv = (value: string | undefined) => readCredential({ env: 'HOOK_TOKEN' }, context({ HOOK_TOKEN: value }));

async function fromFile(content: string | Uint8Array, mode = 0o600) {
  const path = join(folder, 'token');
  await writeFile(path, content);
  await chmod(path, mode);
  return readCredential({ file: 'token' }, context());
}

async function refusal(
  reference: CredentialReference,
  env: CredentialContext['env'] = {},
): Promise<{ message: string; hint: string }> {
  return readCredential(reference, context(env)).then(
    () => Promise.reject(new Error('it was read')),
    (error: unknown) => {
      expect(error).toMatchObject({ code: 'credential-missing' });
      return error as { message: string; hint: string };
    },
  );
}

describe('a credential', () => {
  it('comes from the environment or a file', async () => {
    expect(await fromEnv('s3cret')).toEqual({ value: 's3cret', warning: null });
    expect(await fromFile('s3cret')).toEqual({ value: 's3cret', warning: null });
    expect((await readCredential({ file: join(folder, 'token') }, { ...context(), folder: '/' })).value).toBe('s3cret');
  });

  it('loses one line end of its file and no more', async () => {
    expect((await fromFile('s3cret\n')).value).toBe('s3cret');
    expect((await fromFile('s3cret\r\n')).value).toBe('s3cret');
    await expect(fromFile('s3cret\n\n')).rejects.toMatchObject({
      message: expect.stringContaining('ends with whitespace'),
    });
    await expect(fromFile('s3cret \n')).rejects.toMatchObject({
      message: expect.stringContaining('ends with whitespace'),
    });
    await expect(fromEnv('s3cret\n')).rejects.toMatchObject({
      message: expect.stringContaining('ends with whitespace'),
    });
  });

  it('that is missing is named, with what to do', async () => {
    expect(await refusal({ env: 'HOOK_TOKEN' })).toMatchObject({
      message: 'The credential token of production/hook is missing: the environment variable HOOK_TOKEN is not set.',
      hint: 'Set HOOK_TOKEN where keyturn is started.',
    });
    expect(await refusal({ file: 'gone' })).toMatchObject({
      message: `The credential token of production/hook cannot be read: the file ${join(folder, 'gone')} does not exist.`,
    });
    expect((await refusal({ file: '.' })).message).toContain('is no regular file');
    expect((await refusal({ file: 'x'.repeat(300) })).message).toContain('is refused by the system (ENAMETOOLONG)');
  });

  it.skipIf(process.platform === 'win32')('is not waited for where nobody writes', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect((await refusal({ file: 'pipe' })).message).toContain('is no regular file');
  });

  it.each([
    ['', 'is empty'],
    [' s3cret', 'whitespace'],
    ['s3cret\t', 'whitespace'],
    ['s3cret\u00a0', 'whitespace'],
    ['s3c\nret', 'line break'],
    ['s3c\u0000ret', 'control character'],
    ['\ufeffs3cret', 'invisible character'],
    ['s3c\u200bret', 'invisible character'],
    ['"s3cret"', 'quotes'],
    ["'s3cret'", 'quotes'],
    ['\u201cs3cret\u201d', 'quotes'],
    ['s3cret\\n', 'escaped line break'],
    ['your-app-secret', 'placeholder'],
    ['<s3cret>', 'placeholder'],
    ['${S3CRET}', 'placeholder'],
    ['changeme', 'placeholder'],
  ])('that is polluted is refused by name and never shown: %j (covers R-52)', async (value, fault) => {
    const { message, hint } = await refusal({ env: 'HOOK_TOKEN' }, { HOOK_TOKEN: value });
    expect(message).toContain(
      'The credential token of production/hook cannot be used: what the environment variable HOOK_TOKEN holds',
    );
    expect(message).toContain(fault);
    expect(message + hint).not.toMatch(/s3c|app-secret|changeme/i);
  });

  it.each(['s3cret', 'user:pass word', 'a"b', "it's", '=/+', 'yours', 'xx'])('may be %j', async (value) => {
    expect((await fromEnv(value)).value).toBe(value);
  });

  it('in a file must be text of a size that can be meant', async () => {
    await expect(fromFile(Uint8Array.of(0x73, 0xff))).rejects.toMatchObject({
      message: expect.stringContaining('is not UTF-8 text'),
    });
    await expect(fromFile('x'.repeat(64 * 1024 + 1))).rejects.toMatchObject({
      message: expect.stringContaining('larger than 64 KiB'),
    });
    await expect(fromFile('')).rejects.toMatchObject({ message: expect.stringContaining('is empty') });
  });

  it.skipIf(process.platform === 'win32')('in a file that everybody may open works, with a warning', async () => {
    const { value, warning } = await fromFile('s3cret', 0o644);
    expect(value).toBe('s3cret');
    expect(warning).toContain(`has mode 644; run chmod o= ${join(folder, 'token')}.`);
    expect(warning).not.toContain('s3cret');
    expect((await fromFile('s3cret', 0o640)).warning).toBeNull();
  });
});
