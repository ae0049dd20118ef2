import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { reachHost } from '../../providers/reach.ts';
import { createFakeClock } from '../../src/memory/clock.ts';
import { realClock } from '../../src/ports/real.ts';
import { BaoAdmin } from './stores/vault-support.ts';
import { describeOn } from '../servers/describe.ts';
import { createServer as createTlsServer } from 'node:https';
import { until } from '../process/support/until.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A server that takes connections and says nothing. */
async function silent(): Promise<{ readonly host: string; readonly connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    closing.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return { host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`, connections: () => connections };
}

const never = new AbortController().signal;

describe('reaching a host', () => {
  it('is to connect, and to send nothing', async () => {
    const { host } = await silent();
    expect(await reachHost(`http://${host}`, realClock, never)).toEqual([
      { name: 'reach', state: 'ok', message: `${host} answers.`, hint: null },
    ]);
  });

  it('fails where nobody listens', async () => {
    const { host } = await silent();
    for (const close of closing.splice(0)) close();
    const [found] = await reachHost(`http://${host}`, realClock, never);
    expect(found).toMatchObject({ state: 'failed', message: `${host} cannot be reached from here: ECONNREFUSED.` });
    expect(found?.hint).not.toBeNull();
  });

  it('fails where a name is none', async () => {
    const [found] = await reachHost('https://nobody.invalid', realClock, never);
    expect(found).toMatchObject({ name: 'reach', state: 'failed' });
    expect(found?.message).toContain('nobody.invalid cannot be reached from here');
  });

  it('fails where nothing comes back in time, and at once where nobody waits any more', async () => {
    const { host, connections } = await silent();
    const clock = createFakeClock();
    const late = reachHost(`https://${host}`, clock, never);
    await until('it is connected', () => connections() === 1);
    await clock.advance(5_000);
    expect((await late)[0]?.message).toBe(`${host} cannot be reached from here: it does not answer within 5s.`);
    const stop = new AbortController();
    const stopped = reachHost(`https://${host}`, createFakeClock(), stop.signal);
    await until('it is connected', () => connections() === 2);
    stop.abort();
    expect((await stopped)[0]?.state).toBe('failed');
  });
});

describeOn('openbao', 'reaching a host by TLS', (server) => {
  it('tells a certificate that is not believed', async () => {
    const { certificate, privateKey } = await new BaoAdmin(server).certificate();
    const https = createTlsServer({ cert: certificate, key: privateKey });
    await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
    closing.push(() => https.close());
    const host = `127.0.0.1:${String((https.address() as AddressInfo).port)}`;
    const [found] = await reachHost(`https://${host}`, realClock, never);
    expect(found).toMatchObject({ name: 'reach', state: 'failed' });
    expect(found?.hint).toContain('NODE_EXTRA_CA_CERTS');
  });
});
