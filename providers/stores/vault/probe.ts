import { isRecord } from '../../../src/model/json.ts';
import { failed, finding, ok, readFindings, unknown } from '../../../src/ports/probe.ts';
import type { ProbeFinding, ProbeRequest, SecretStore, StoreProbe } from '../../../src/ports/secret-store.ts';
import type { Clock } from '../../../src/ports/system.ts';
import type { VaultClient } from './client.ts';
import type { VaultMount } from './mount.ts';

interface Probing {
  readonly client: VaultClient;
  readonly mount: VaultMount;
  readonly clock: Clock;
}

/** Reach, version and clock; the engine; each right that the use needs; and the reads themselves. Nothing is written. */
export async function probeVault(store: SecretStore, on: Probing, request: ProbeRequest): Promise<StoreProbe> {
  const { server, reach } = await probeServer(on);
  if (reach.state === 'failed') return { ...server, findings: [reach] };
  const mount = await finding('mount', async () => {
    const version = await on.mount.version('The mount');
    if (version === '2') return ok('mount', 'It is a KV secrets engine of version 2.');
    if (version === 'unknown') return unknown('mount', 'The token may not see which engine is mounted there.');
    const hint = 'Name a mount of a KV secrets engine, version 2, in the policy.';
    return { name: 'mount', state: 'failed', message: 'It is no KV secrets engine of version 2.', hint };
  });
  const findings = [reach, mount, ...(await rights(on, request)), ...(await readFindings(store, request))];
  return { ...server, findings };
}

async function probeServer({ client, clock }: Probing): Promise<{
  readonly server: Pick<StoreProbe, 'version' | 'clockAheadMs'>;
  readonly reach: ProbeFinding;
}> {
  const none = { version: null, clockAheadMs: null };
  try {
    const path = 'sys/health';
    const call = { method: 'GET', path, token: null, inNamespace: false } as const;
    const answer = await client.call(call, 'The server');
    const { body } = answer;
    if (!isRecord(body) || typeof body['version'] !== 'string') {
      return { server: none, reach: failed('reach', client.refusal({ what: 'The server', path }, answer, null)) };
    }
    const time = body['server_time_utc'];
    const server = {
      version: body['version'],
      clockAheadMs: typeof time === 'number' ? time * 1_000 - Math.floor(clock.now() / 1_000) * 1_000 : null,
    };
    const sealed = { name: 'reach', state: 'failed', message: 'The server is sealed.', hint: 'Unseal it.' } as const;
    return { server, reach: body['sealed'] === true ? sealed : ok('reach', `The ${client.label} answers.`) };
  } catch (error) {
    return { server: none, reach: failed('reach', error) };
  }
}

interface Right {
  readonly finding: string;
  readonly path: string;
  readonly needs: readonly string[];
}

function rightsOf({ mount }: Probing, { use, names, plainKeys }: ProbeRequest): readonly Right[] {
  const keyrings = names.flatMap(({ secret, key }) => {
    const { data, metadata, destroy } = mount.placeOf(key, `The keyring of ${secret}`);
    if (use === 'receiver') return [];
    return [
      { finding: 'commit', path: data, needs: ['create', 'update'] },
      { finding: 'purge', path: metadata, needs: ['read'] },
      { finding: 'purge', path: destroy, needs: ['update'] },
    ];
  });
  const copies = plainKeys.map((key) => {
    const { data } = mount.placeOf(key, `The plain copy ${key}`);
    return { finding: 'plain-write', path: data, needs: ['create', 'update'] };
  });
  return use === 'receiver' ? keyrings : [...keyrings, ...copies];
}

/** As the server itself answers what the token may; one finding for each kind of right. */
async function rights(on: Probing, request: ProbeRequest): Promise<readonly ProbeFinding[]> {
  try {
    const wanted = rightsOf(on, request);
    if (wanted.length === 0) return [];
    const allowed = await on.mount.capabilities([...new Set(wanted.map(({ path }) => path))]);
    if (allowed === null) {
      return [unknown('commit', 'The token may not ask what it may.', 'Leave it the policy "default".')];
    }
    return [...Map.groupBy(wanted, (right) => right.finding)].map(([name, group]) => {
      const lacking = group.flatMap(({ path, needs }) => {
        const has = allowed.get(path) ?? [];
        const lacks = has.includes('root') ? [] : needs.filter((need) => !has.includes(need));
        return lacks.length === 0 ? [] : [`${lacks.join(' and ')} on ${path}`];
      });
      if (lacking.length === 0) return ok(name, `The token has the rights for it.`);
      const hint = 'Give it a policy with that; deploy/vault has one for the orchestrator.';
      return { name, state: 'failed', message: `The token lacks ${lacking.join(', ')}.`, hint };
    });
  } catch (error) {
    return [failed('commit', error)];
  }
}
