import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { laterCommands } from '../../../src/cli/later.ts';
import { freePort } from './free-port.ts';
import type { Later } from './processes.ts';
import type { Scene } from './scene.ts';
import { accepts, answers, hookToken } from './upstream.ts';
import { until } from './until.ts';
import { policyOf } from './world.ts';

/** The whole life of some secrets, told so that every command ends well once and badly once. */

const because = ['--reason', 'x'] as const;

/** Files of the story that are there to hold values. Keyrings that are encrypted are not. */
export function holdersOf(isEncrypted: boolean): readonly RegExp[] {
  return [
    ...(isEncrypted ? [] : [/^\.keyturn\/(?:secrets|spare)\/[\w-]+\.json$/]),
    // What the policy declares as a mirror, or a person put there.
    /^\.keyturn\/secrets\/\.plain\//,
    /^(?:hook-token|age\.key|given\/.*)$/,
    // The worlds of `init` and of the demo have keyrings in plain text, and tokens in files.
    /^fresh\/\.keyturn\/(?:secrets\/|practice)/,
    /^keyturn-demo-\w+\/(?:token$|naive-secret$|\.keyturn\/secrets\/)/,
  ];
}

const value = (name: string): string => `given/+=%&-${name}-4d7a1c9e0b52`;
const names = ['hook', 'filed', 'stored', 'imported', 'dotted', 'asked', 'quiet', 'broken'];

export interface Story {
  readonly scene: Scene;
  readonly identity: string;
  readonly later: Later;
}

/** Writes the policy of the story, and a second one that has values where references belong. */
export function preparePolicies({ scene, identity }: Story): void {
  const { world, loudness } = scene;
  const write = (name: string, text: string): void => writeFileSync(join(world.folder, name), text, { mode: 0o600 });
  scene.keep(hookToken, identity);
  write('hook-token', `${hookToken}\n`);
  write('age.key', `${identity}\n`);
  for (const name of names) world.hook(name);
  const more = { asked: { approvals: 1 }, hook: { mirror: [{ key: 'mirrors/hook', format: 'active_secrets' }] } };
  const secrets = Object.fromEntries(
    names.map((name) => [name, { more: { ...(more as Readonly<Record<string, object>>)[name] }, timeout: '2s' }]),
  );
  const policy = policyOf(world.upstream.url, { secrets }) as Policy;
  for (const each of Object.values(policy.secrets)) each.upstream.credentials = { token: { file: 'hook-token' } };
  const age = loudness.isEncrypted ? { age: { identity: { file: 'age.key' } } } : {};
  policy.stores = {
    local: { kind: 'file', path: '.keyturn/secrets', ...age },
    spare: { kind: 'file', path: '.keyturn/spare', ...age },
  };
  policy.defaults = { store: 'local' };
  write('rotation-policy.json', JSON.stringify(policy));
  for (const each of Object.values(policy.secrets)) each.upstream.credentials = { token: hookToken };
  policy.stores = { local: storeWith(identity) };
  mkdirSync(join(world.folder, 'given'), { mode: 0o700 });
  write('given/literal.json', JSON.stringify(policy));
}

interface Policy {
  stores?: object;
  defaults?: object;
  readonly secrets: Readonly<Record<string, { readonly upstream: { credentials: object } }>>;
}

function storeWith(identity: unknown): object {
  return { kind: 'file', path: '.keyturn/secrets', age: { identity } };
}

/** Values come in from everywhere, and what is no value is refused. */
export async function takeIn({ scene }: Story): Promise<void> {
  const { folder } = scene.world;
  const given = (name: string, text: string): string => {
    writeFileSync(join(folder, 'given', name), text, { mode: 0o600 });
    return `given/${name}`;
  };
  for (const name of names) scene.keep(value(name));
  await scene.plays('well', ['check']);
  for (const name of ['hook', 'asked', 'quiet', 'broken']) {
    await scene.plays('well', ['adopt', name, '--stdin'], { input: value(name) });
    scene.world.hook(name).signWith(value(name));
  }
  await scene.plays('well', ['adopt', 'filed', '--file', given('filed', value('filed'))]);
  const plain = join(folder, '.keyturn/secrets/.plain/prod');
  mkdirSync(plain, { recursive: true });
  for (const path of [join(plain, '..'), plain]) chmodSync(path, 0o700);
  writeFileSync(join(plain, 'stored'), JSON.stringify({ HOOK: value('stored') }), { mode: 0o600 });
  await scene.plays('badly', ['adopt', 'stored', '--from-store', 'prod/stored']);
  await scene.plays('well', ['adopt', 'stored', '--from-store', 'prod/stored#HOOK']);
  await scene.plays('badly', ['adopt', 'dotted', '--stdin'], { input: `HOOK=${value('dotted')}\n` });
  await scene.plays('badly', ['adopt', 'dotted', '--stdin'], { input: value('hook') });

  const former = value('former');
  scene.keep(former);
  const version = { version: 'v2', value: value('imported'), created_at: '2023-11-01T10:00:00Z', status: 'primary' };
  const older = { version: 'v1', value: former, created_at: '2023-10-01T10:00:00Z', status: 'deprecated' };
  const document = JSON.stringify({ imported: { active_secrets: [version, older] } });
  await scene.plays('badly', ['import', given('cut.json', document.slice(0, -20))]);
  await scene.plays('badly', ['import', '-'], { input: document.replace('2023-10-01T10:00:00Z', former) });
  await scene.plays('well', ['import', given('secrets.json', document)]);
  await scene.plays('well', ['import', '--dotenv', given('.env', `HOOK='${value('dotted')}'\n`), 'HOOK=dotted']);
}

/** Values go out, where somebody asked for them, and only there. */
export async function handOut({ scene }: Story): Promise<void> {
  await scene.plays('well', ['export']);
  await scene.plays('well', ['export', 'HOOK=hook', '--format', 'dotenv', '--show-values', '--out', 'given/out.env']);
  await scene.plays('badly', ['export', 'hook', '--show-values']);
  await scene.plays('well', ['reveal', 'hook', '--stage', 'primary', '--out', 'given/revealed']);
  await scene.plays('badly', ['reveal', 'hook', '--stage', 'primary']);
  await scene.plays('well', ['doctor', '--write']);
}

/** Rotations, with an upstream that repeats in its answers what it was told. */
export async function rotateAll({ scene }: Story): Promise<void> {
  const { world } = scene;
  const receiver = await world.startReceiver(names);
  const hook = world.hook('hook');
  hook.send(20, `${receiver.url}/hook`);
  await world.moreDeliveries(3, 'hook');
  hook.react(answers(422));
  await scene.plays('badly', ['rotate', 'hook', '--wait']);
  const told = `you sent ${String(hook.calls[0]?.value)} and were ${value('hook')}, as ${hookToken}`;
  const headers = { 'x-request-id': hookToken, location: `http://127.0.0.1/${encodeURIComponent(told)}` };
  for (const status of [422, 307, 500]) {
    hook.react(answers(status, { headers, body: { message: told, error: { message: told }, told } }));
    await scene.plays('badly', ['rotate', 'hook', '--wait=1s']);
  }
  await scene.plays('badly', ['run', 'hook']);
  hook.react({ ...accepts, headers, body: { message: told } } as typeof accepts);
  await scene.plays('well', ['rotate', 'hook', '--wait']);

  world.hook('quiet').send(0);
  await scene.plays('badly', ['confirm', 'quiet']);
  await scene.plays('badly', ['rotate', 'quiet', '--wait=4s']);
  await scene.plays('well', ['confirm', 'quiet']);
  await scene.plays('well', ['run']);
  const watch = scene.start(['run', '--watch', '--every', '300ms', '--metrics-file', 'metrics.prom']);
  await until('it has visited', () => filesHas(world.folder, 'metrics.prom'));
  watch.kill('SIGTERM');
  const watched = await watch.finished;
  expect(watched.code).toBe(143);
  await scene.note('badly', ['run', '--watch'], watched);
}

function filesHas(folder: string, name: string): boolean {
  try {
    return readFileSync(join(folder, name), 'utf8') !== '';
  } catch {
    return false;
  }
}

/** What people say about a run. */
export async function saySomething({ scene }: Story): Promise<void> {
  for (const command of ['hold', 'unhold', 'deny', 'abort']) {
    await scene.plays('badly', [command, 'asked', ...because]);
  }
  await scene.plays('badly', ['approve', 'asked']);
  await scene.plays('badly', ['forget', 'nobody', ...because]);
  await scene.plays('well', ['rotate', 'asked']);
  await scene.plays('well', ['deny', 'asked', ...because]);
  // It ends at its next look.
  await scene.plays('well', ['run', 'asked']);
  await scene.plays('well', ['rotate', 'asked']);
  for (const args of [['plan'], ['plan', '--now'], ['status'], ['history']]) await scene.plays('well', args);
  await scene.plays('well', ['approve', 'asked']);
  await scene.plays('well', ['hold', 'asked', ...because]);
  await scene.plays('well', ['unhold', 'asked', ...because]);
  await scene.plays('well', ['abort', 'asked', ...because]);
  const doomed = await scene.world.startReceiver(['hook']);
  const [id] = await until('it reports', async () => {
    const { receivers } = await scene.world.status('hook');
    return receivers.length > 1 && receivers.map((each) => each.id);
  });
  doomed.process.kill('SIGKILL');
  await doomed.process.finished;
  await scene.plays('well', ['forget', String(id), ...because]);
  await scene.plays('well', ['rotate', 'filed', '--compromised', '--yes']);
}

/** Everything once more where something is broken. */
export async function breakAll({ scene }: Story): Promise<void> {
  const { folder } = scene.world;
  const literal = ['--policy', 'given/literal.json'];
  for (const command of ['check', 'plan', 'status', 'history', 'practice']) {
    await scene.plays('badly', [command, ...literal]);
  }
  const document = join(folder, '.keyturn/secrets/broken.json');
  const whole = readFileSync(document);
  writeFileSync(document, whole.subarray(0, whole.length - 5));
  for (const args of [
    ['rotate', 'broken'],
    ['run', 'broken'],
    ['export', 'broken'],
    ['adopt', 'broken', '--stdin'],
  ]) {
    await scene.plays('badly', args, { input: value('dotted') });
  }
  await scene.plays('badly', ['doctor']);
  await scene.plays('badly', ['reveal', 'broken', '--stage', 'primary', '--out', 'given/never']);
  await scene.plays('badly', ['rotate', 'broken', '--compromised', '--yes']);
  for (const args of [
    ['status', 'broken'],
    ['plan', 'broken'],
  ])
    await scene.plays('well', args);
  for (const command of laterCommands) await scene.plays('badly', [command]);
}

/** What looks at everything that there is by now, or plays with the policy alone. */
export async function lookBack({ scene }: Story): Promise<void> {
  await scene.plays('well', ['audit', 'head']);
  await scene.plays('well', ['audit', 'verify']);
  await scene.plays('badly', ['audit', 'verify', '--head', 'none']);
  await scene.plays('badly', ['migrate', 'dotted', '--from', 'local', '--to', 'nowhere']);
  await scene.plays('well', ['migrate', 'dotted', '--from', 'local', '--to', 'spare']);
  await scene.plays('well', ['simulate', 'hook', '--runs', '1', '--seed', '1', '--trace']);
  await scene.plays('badly', ['simulate', 'nobody']);
}

/** What needs no policy, or writes one. */
export async function practise({ scene, later }: Story): Promise<void> {
  const { folder } = scene.world;
  mkdirSync(join(folder, 'fresh'));
  const inFresh = { cwd: join(folder, 'fresh') };
  await scene.plays('well', ['init'], inFresh);
  await scene.plays('badly', ['init'], inFresh);
  const policy = join(folder, 'fresh/rotation-policy.json');
  const port = String(await freePort());
  writeFileSync(policy, readFileSync(policy, 'utf8').replace(':4747/', `:${port}/`));
  const practice = scene.start(['practice'], inFresh);
  later(async () => {
    practice.kill('SIGTERM');
    await practice.finished;
  });
  // With --json it says nothing before its end.
  await until('the practice upstream listens', async () => {
    expect(practice.hasEnded(), practice.stdout() + practice.stderr()).toBe(false);
    return (await fetch(`http://127.0.0.1:${port}/hook`).catch(() => null))?.ok;
  });
  await scene.plays('well', ['rotate', 'practice-hook', '--wait'], inFresh);
  const made = readFileSync(join(folder, 'fresh/.keyturn/secrets/sandbox/practice-hook.json'), 'utf8');
  scene.keep(...[...made.matchAll(/"value": ?"([^"]+)"/g)].map(([, each = '']) => each));
  practice.kill('SIGTERM');
  await scene.note('well', ['practice'], await practice.finished);
  await scene.plays('well', ['demo']);
  await scene.plays('badly', ['demo'], { env: { TMPDIR: join(folder, 'nowhere') } });
}
