import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openOrchestrator, openReceiver } from '../../providers/open.ts';
import { createFileStore } from '../../providers/stores/file.ts';
import { acceptedVersions } from '../../src/model/keyring.ts';
import { logOf, type LogFields } from '../../src/ports/log.ts';
import { mask, redacting } from '../../src/ports/redact.ts';
import { webhook } from '../../src/webhook/node.ts';
import { settled, valueOf } from '../cache/support.ts';
import { leaks } from '../process/support/leaks.ts';
import { listen, send } from '../webhook/sockets.ts';
import { signatureOf } from '../webhook/support.ts';

const value = valueOf('v1');
const token = 'tok/en+5f4e=3d2c1b';

/** A policy with the secret `hook`, whose keyring has one version. */
async function policyFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-logs-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'rotation-policy.json');
  await writeFile(join(folder, 'token'), token, { mode: 0o600 });
  // Nobody listens there, and every HTTP client knows it.
  const url = 'http://127.0.0.1:1/hook';
  const activate = { method: 'PATCH', url, headers: { authorization: 'Bearer {{credentials.token}}' } };
  const upstream = {
    ...{ kind: 'http', allowHosts: ['127.0.0.1'], credentials: { token: { file: 'token' } } },
    capabilities: { valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'yes' },
    steps: { activate: { ...activate, json: { secret: '{{new}}' } } },
  };
  await writeFile(file, JSON.stringify({ version: 1, secrets: { hook: { scheme: 'github', upstream } } }));
  const store = createFileStore({ path: join(folder, '.keyturn/secrets') });
  await store.commit({ secret: 'hook', key: 'hook' }, settled('hook', 'v1'), null);
  return file;
}

interface Line extends LogFields {
  readonly level: string;
  readonly message: string;
}

function recording() {
  const lines: Line[] = [];
  return { lines, log: logOf((level) => (message, fields) => void lines.push({ ...fields, level, message })) };
}

describe('the log that is handed in', () => {
  test('of a receiver is told of each load and report, and never a value', async () => {
    const { lines, log } = recording();
    const receiver = await openReceiver({ policy: await policyFile(), secrets: ['hook'], log });
    const served = await listen(
      webhook(receiver, { secret: 'hook' }, () => {
        throw new Error(`hmac ${value} failed`, { cause: new TypeError(value) });
      }),
    );
    onTestFinished(served.close);
    const headers = { 'x-hub-signature-256': signatureOf(value, '{}'), 'x-request-id': 'q-7' };
    expect(await send(served.port, { headers, body: Buffer.from('{}') })).toMatchObject({ status: 500 });
    await receiver.close();
    const told = lines.map(({ message }) => message);
    expect(told).toEqual(expect.arrayContaining(['store read', 'usage log report', 'usage log close', 'store close']));
    expect(lines.find(({ level }) => level === 'error')).toEqual({
      ...{ level: 'error', message: 'The handler of a webhook failed.', secret: 'hook', requestId: 'q-7' },
      ...{ error: `hmac ${mask} failed`, code: null, causes: 'TypeError' },
    });
    expect(leaks([value], new Map([['log', JSON.stringify(lines)]]))).toEqual([]);
  });

  test('of an orchestrator is told of each call and decision, and learns every value that comes by', async () => {
    const { lines, log: bare } = recording();
    const log = redacting(bare);
    const { orchestrator, close } = await openOrchestrator({ policy: await policyFile(), log });
    onTestFinished(close);
    // So that no gate keeps it from the upstream, which needs the credential.
    const advance = await orchestrator.rotate('hook', { compromised: true, reason: 'a test' });
    const { keyring } = await orchestrator.look('hook');
    const values = acceptedVersions(keyring!).map((version) => version.value);
    expect(values).toHaveLength(2);
    for (const each of [...values, token]) expect(log.redacted(`<${each}>`)).toBe(`<${mask}>`);
    expect(new Set(lines.map(({ message }) => message))).toEqual(
      new Set([
        ...['lease acquire', 'lease renew', 'lease read', 'lease release'],
        ...['journal runs', 'journal begin', 'journal save', 'usage log evidence', 'store read', 'store commit'],
        ...['upstream activate', 'observed', 'decided'],
      ]),
    );
    for (const line of lines.filter(({ message }) => message === 'decided' || message === 'upstream activate')) {
      expect(line).toMatchObject({ level: 'debug', secret: 'hook', run: advance.run.id });
    }
    expect(leaks([...values, token], new Map([['log', JSON.stringify(lines)]]))).toEqual([]);
  });
});
