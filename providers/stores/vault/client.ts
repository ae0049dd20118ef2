import { readFile } from 'node:fs/promises';
import { KeyturnError } from '../../../src/model/errors.ts';
import { isRecord, type Fields } from '../../../src/model/json.ts';
import type { VaultStorePolicy } from '../../../src/model/policy.ts';
import { systemCode } from '../../files.ts';
import { optionalPackage } from '../../packages.ts';
import { refusedPath, unexpectedAnswer, unreachable, type Asked } from './errors.ts';
import { createTransport, type Answer, type CallOptions, type Transport } from './transport.ts';

/** What node-vault is asked for: one call. Its other functions keep a token, log values or stop renewing for good. */
interface NodeVault {
  readonly request: (options: { path: string; method: string }) => Promise<unknown>;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below `/v1`, without a slash before it: `secret/data/production/hook`. */
  readonly path: string;
  readonly body?: Fields;
  /** Null: the call needs none. */
  readonly token: string | null;
  /** False for the few paths that are of the whole server. */
  readonly inNamespace?: boolean;
}

/** One call to the server: node-vault behind a transport of our own, so that nothing of it is kept or printed. */
export class VaultClient {
  readonly label: string;
  readonly #vault: NodeVault;
  readonly #transport: Transport;
  readonly #namespace: string | null;

  private constructor(vault: NodeVault, transport: Transport, { address, mount, namespace }: VaultStorePolicy) {
    this.#vault = vault;
    this.#transport = transport;
    this.#namespace = namespace;
    this.label = `Vault store at ${address}, mount ${mount}${namespace === null ? '' : `, namespace ${namespace}`}`;
  }

  /** Throws `package-missing`, and `policy-invalid` for a file of certificates that cannot be read. */
  static async open(policy: VaultStorePolicy): Promise<VaultClient> {
    const { default: nodeVault } = await optionalPackage(
      'node-vault',
      'A store of kind vault',
      () => import('node-vault'),
    );
    const ca = policy.caFile === null ? null : await certificates(policy.caFile);
    const transport = await createTransport({ address: policy.address, ca, timeoutMs: policy.timeoutMs });
    const vault = nodeVault({
      apiVersion: 'v1',
      endpoint: policy.address,
      // Else it prints values where DEBUG asks for it.
      debug: () => {},
      // It would look over each call by a schema, for what the types of this file say already.
      tv4: Object.assign(() => true, { validate: () => true }),
      'request-promise': { defaults: () => transport },
    });
    // It would take these from the environment, whatever the policy says.
    for (const name of ['token', 'namespace', 'pathPrefix']) Reflect.set(vault, name, '');
    return new VaultClient(vault, transport, policy);
  }

  /** The answer, whatever its status. Throws `store-unreachable`. */
  async call({ method, path, body, token, inNamespace = true }: Call, what: string): Promise<Answer> {
    const received: { answer: Answer | null } = { answer: null };
    const options: Omit<CallOptions, 'uri'> & { readonly path: string } = {
      method,
      path: `/${path}`,
      // A new object each time: node-vault writes into it, and a token that was once there stays.
      headers: {
        'X-Vault-Request': 'true',
        ...(token === null ? {} : { 'X-Vault-Token': token }),
        ...(this.#namespace === null || !inNamespace ? {} : { 'X-Vault-Namespace': this.#namespace }),
      },
      ...(body === undefined ? {} : { json: body }),
      onAnswer: (answer) => {
        received.answer = answer;
      },
    };
    try {
      await this.#vault.request({ ...options });
    } catch (error) {
      // It throws for every status but 200 and 204.
      if (received.answer === null) throw unreachable({ what, path }, this.label, error);
    }
    if (received.answer === null) throw new TypeError('node-vault resolved without a call');
    return received.answer;
  }

  /** What an answer says that is none of those that were expected; `isTokenGood` is null where nobody looked. */
  refusal(asked: Asked, answer: Answer, isTokenGood: boolean | null): KeyturnError {
    if (answer.statusCode === 403) return refusedPath(asked, this.label, isTokenGood);
    return unexpectedAnswer(asked, this.label, answer);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }
}

/** The `data` of an answer; null where it has none. */
export function dataOf(body: unknown): Fields | null {
  if (!isRecord(body)) return null;
  return isRecord(body['data']) ? body['data'] : null;
}

async function certificates(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  } catch (error) {
    throw new KeyturnError(
      'policy-invalid',
      `The certificates of "caFile" cannot be read: ${path} (${systemCode(error) ?? 'unknown'}).`,
      {
        hint: 'Correct the path in the policy, or make the file readable.',
        cause: error,
      },
    );
  }
  throw new KeyturnError('policy-invalid', `The file of "caFile" has no certificate in PEM: ${path}.`, {
    hint: 'It begins with -----BEGIN CERTIFICATE-----; a certificate in DER has to be converted.',
  });
}
