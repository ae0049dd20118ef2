import { z } from 'zod';
import { addressPart } from '../address.ts';
import { choice, credential, duration, filePath, group, later, ruled, ruleOf, text, wholeNumber } from './fields.ts';
import { nameSentence, notInThisVersion } from './rules.ts';
import { store } from './store-schema.ts';

/**
 * The one schema of the policy file, as people write it: nothing is transformed and no default is filled in, so that
 * what it accepted can still be located in the text. `policy-merge.ts` lays layers over each other, `policy-checks.ts`
 * judges fields against each other, `policy-resolve.ts` makes the shapes of `policy.ts`.
 */

/** The policy versions that this keyturn reads. */
export const policyVersion = 1;

const laterSchemes = [
  'standard-webhooks',
  'svix',
  'stripe',
  'slack',
  'shopify',
  'twilio',
  'telegram',
  'zendesk',
  'linear',
  'hubspot',
  'pagerduty',
  'square',
  'zoom',
  'sendgrid',
  'discord',
  'paypal',
  'gitlab',
  'wasenderapi',
  'make',
];

/** A capability that may be denied, which changes nothing, and not claimed. */
function onlyFalse(what: string, description: string) {
  return z
    .literal(false, { error: ({ input }) => (input === undefined ? undefined : `${what} is ${notInThisVersion}`) })
    .meta({ description: `${description} Only false: the rest is ${notInThisVersion}.`, default: false })
    .optional();
}

/** A list that has to be empty as long as what it would hold is not there. */
function emptyList(what: string) {
  return z
    .array(z.unknown())
    .max(0, `${what} ${notInThisVersion}`)
    .meta({ description: `Must be empty: ${what} ${notInThisVersion}.`, default: [] })
    .optional();
}

/** Where something is in a store. A template stands for a part of the address, which any key may hold. */
function storeKey(description: string, { templates }: { templates: boolean }) {
  return ruled(z.string(), { is: 'storeKey', templates }).meta({ description });
}

/** Names become addresses, file names and shell arguments. They are judged in `policy-checks.ts`, where values count too. */
function named<T extends z.ZodType>(description: string, value: T, pattern: RegExp = addressPart) {
  return z.record(z.string(), value).meta({ description, propertyNames: { pattern: pattern.source } });
}

const journal = z
  .strictObject({
    kind: choice('a journal of kind', ['sqlite'], ['postgres']).meta({
      description: 'Where the journal is: a SQLite file.',
    }),
    path: filePath(
      'The file of the journal; for the operator alone, receivers never open it.',
      '.keyturn/journal.db',
    ).optional(),
    auditKey: credential
      .meta({
        description:
          'Where the key is read from that the audit trail is sealed with, at least 32 characters. Without it, whoever can write the journal can make its chain of events anew.',
      })
      .optional(),
  })
  .meta({ description: 'Durable state of runs, leases and the audit trail; ids, never values.' });

const usage = z
  .strictObject({
    kind: choice('a usage log of kind', ['sqlite'], ['postgres', 'redis', 'prometheus']).meta({
      description: 'Where the usage log is: a SQLite file.',
    }),
    path: filePath(
      'The file of the usage log, in a folder of its own: receivers write to it.',
      '.keyturn/usage/usage.db',
    ).optional(),
    group: group.optional(),
  })
  .meta({ description: 'Where receivers report what matched, what they hold, and that they are alive.' });

const generate = z
  .strictObject({
    bytes: z
      .number()
      .int('must be a whole number')
      .min(16, 'must be at least 16: a shorter value can be guessed')
      .max(512, 'must be at most 512')
      .meta({ description: 'How many random bytes a new value is made of.', default: 32 })
      .optional(),
    encoding: z
      .enum(['base64url', 'base64', 'hex'])
      .meta({ description: 'How the bytes are written as text.', default: 'base64url' })
      .optional(),
    prefix: text(
      'What a new value begins with.',
      /^[\x21-\x7e]{0,64}$/,
      'must be at most 64 printable ASCII characters without spaces',
    )
      .meta({ description: 'What a new value begins with.', default: '' })
      .optional(),
    from: later('a value issued by the upstream or a person is'),
    keypair: later('a key pair is'),
  })
  .meta({ description: 'How a new value is made.' });

const reporting = z
  .enum(['required', 'none'])
  .meta({
    description: 'Whether the receivers report. Those that do not give no evidence, so that a person has to confirm.',
    default: 'required',
  })
  .optional();

const expect = z
  .number()
  .int('must be a whole number')
  .min(1, 'must be at least 1: receivers that report are the evidence a rotation goes by');

const pool = z
  .strictObject({
    expect: expect
      .meta({
        description: 'How many receivers of this pool must be live. For pools that report and stay, and no others.',
      })
      .optional(),
    reporting,
    ephemeral: z
      .boolean()
      .meta({
        description:
          'Whether its receivers come and go, as on Lambda. What they report counts as use, and never as a roster.',
        default: false,
      })
      .optional(),
    maxAge: duration(
      'How old the snapshot of an ephemeral receiver may be when it serves. For ephemeral pools alone.',
      {
        least: '1s',
      },
    ).optional(),
  })
  .meta({ description: 'One pool of receivers.' });

const receivers = z
  .strictObject({
    expect: expect
      .meta({
        description:
          'How many receivers must be live, in the one pool "default". Without default, unless every host of the upstream is on loopback (then 1).',
      })
      .optional(),
    pools: named('Receivers by pool, instead of `expect`.', pool).optional(),
    reporting,
    reportEvery: duration('How often a receiver reports.', { least: '100ms', default: '10s' }).optional(),
    missingAfter: duration(
      'After how long without a report a receiver counts as gone; at least three times reportEvery.',
      {
        default: '10m',
      },
    ).optional(),
    refreshEvery: duration('How often a receiver reads the store again.', {
      least: '100ms',
      default: '60s',
    }).optional(),
  })
  .meta({
    description: 'The processes of the fleet that verify with this secret: the roster that counts as evidence.',
  });

const gates = z
  .strictObject({
    grace: duration('How long both values stay accepted after the switch, at the least.', { default: '1h' }).optional(),
    quiet: duration('How long the old value must have been without use before it is revoked.', {
      default: '30m',
    }).optional(),
    timeout: duration(
      'How long a gate may wait for what traffic, receivers or people can move, before it holds the run. It never passes because of it.',
      { least: '1s', default: '24h' },
    ).optional(),
    retryTail: z
      .enum(['respect', 'ignore'])
      .meta({
        description:
          'Whether retries that the old value signed are waited for, for the whole retryHorizon after the proven switch. "ignore": they are refused once the old value is revoked.',
        default: 'respect',
      })
      .optional(),
  })
  .meta({ description: 'What must be true before the old value is revoked.' });

const overlap = z
  .union(
    [z.enum(['none', 'unbounded']), z.strictObject({ max: duration('How long the upstream keeps the old value.') })],
    { error: 'must be "none", "unbounded" or { "max": DURATION }' },
  )
  .meta({ description: 'Whether the upstream itself keeps an old value beside the new one, and for how long.' });

const capabilities = z
  .strictObject({
    valueOrigin: choice('valueOrigin', ['ours', 'either'], ['upstream']).meta({
      description: 'Who chooses a new value.',
    }),
    activation: choice('activation', ['on-push'], ['on-issue', 'on-promote', 'on-revoke']).meta({
      description: 'What makes the upstream sign with the new value.',
    }),
    overlap,
    dualSigned: onlyFalse('dualSigned', 'Whether the upstream signs with both values for a while.'),
    retriesResigned: z.enum(['yes', 'no', 'unknown']).meta({
      description:
        'Whether a retry of an earlier delivery is signed anew. With "no" or "unknown", retryHorizon has to be stated.',
    }),
    retryHorizon: duration(
      'How long after a failed delivery a retry of it may still arrive; "0ms" where the upstream never retries.',
      { default: '0ms' },
    ).optional(),
    switchLag: duration(
      'How long after its first delivery under a new value the upstream may still sign with the old one: its workers do not all learn the new value at the same moment.',
      { default: '1m' },
    ).optional(),
    redelivers: z
      .boolean()
      .meta({ description: 'Whether a delivery that was answered 503 comes again.', default: false })
      .optional(),
    idempotent: z
      .boolean()
      .meta({ description: 'Whether sending the same value twice is the same as once.', default: true })
      .optional(),
    readBack: onlyFalse('readBack', 'Whether the value in use can be read at the upstream.'),
    ping: onlyFalse('ping', 'Whether the upstream can be asked for a test delivery.'),
    lastUsed: onlyFalse('lastUsed', 'Whether the upstream says when a value was last used.'),
    revertible: onlyFalse('revertible', 'Whether the upstream can go back to the old value by itself.'),
    person: onlyFalse('person', 'Whether a person makes the call.'),
  })
  .meta({ description: 'What the upstream can do; it decides the order of the steps.' });

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

const statuses = (description: string, least: number, most: number) =>
  z
    .array(
      z
        .number()
        .int('must be an HTTP status')
        .min(least, `must be an HTTP status from ${String(least)}`)
        .max(most, `must be an HTTP status up to ${String(most)}`),
    )
    .meta({ description });

const httpStep = z
  .strictObject({
    method: z.enum(methods).meta({ description: 'The method of the request.' }),
    url: z.string().meta({
      description:
        'Where the request goes: https unless on loopback, a host of allowHosts. Templates may stand in path and query: {{new}} {{old}} {{runId}} {{environment}} {{tenant}} {{credentials.NAME}}.',
    }),
    headers: z
      .record(z.string(), z.string())
      .meta({ description: 'Headers by name; the values are templates.' })
      .optional(),
    json: ruled(z.unknown(), { is: 'body' })
      .meta({ description: 'The body as JSON; its strings are templates. At most one of json, form and body.' })
      .optional(),
    form: z
      .record(z.string(), z.string())
      .meta({ description: 'The body as a form; its values are templates.' })
      .optional(),
    body: z
      .string()
      .meta({ description: 'The body as it is; a template. Name its content-type in headers.' })
      .optional(),
    expect: statuses('The statuses that mean done.', 200, 499)
      .min(1, 'must name at least one status')
      .meta({ description: 'The statuses that mean done.', default: [200, 201, 202, 204] })
      .optional(),
    retryOn: statuses('Statuses worth another try, beside 408, 425, 429 and 5xx.', 300, 599).optional(),
    timeout: duration('How long one try may take.', { least: '1ms', most: '10m', default: '5s' }).optional(),
    graphql: later('a GraphQL body is'),
    extract: later('extracting from an answer is'),
    idempotencyHeader: later('an idempotencyHeader is'),
  })
  .meta({ description: 'One request.' });

const laterStep = (name: string) => later(`the step "${name}" is`);

const upstream = z
  .strictObject({
    kind: z
      .enum(['http'], {
        error: ({ input }) =>
          typeof input === 'string'
            ? `only upstreams of kind "http" are there, the rest is ${notInThisVersion}`
            : undefined,
      })
      .meta({ description: 'What kind of upstream it is.' }),
    allowHosts: z
      .array(z.string())
      .min(1, 'must name at least one host')
      .meta({ description: 'The only hosts that calls may go to: HOST for every port of it, or HOST:PORT.' }),
    credentials: named('What the calls need to be let in, by name.', credential, /^[A-Za-z0-9_-]+$/).optional(),
    capabilities,
    steps: z
      .strictObject({
        activate: httpStep.meta({ description: 'Makes the upstream sign with the new value.' }),
        snapshot: laterStep('snapshot'),
        prepare: laterStep('prepare'),
        promote: laterStep('promote'),
        verify: laterStep('verify'),
        revoke: laterStep('revoke'),
        rollback: laterStep('rollback'),
        readBack: laterStep('readBack'),
        ping: laterStep('ping'),
        lastUsed: laterStep('lastUsed'),
      })
      .meta({ description: 'The named calls.' }),
    recipe: later('an upstream by recipe is'),
    with: later('an upstream by recipe is'),
  })
  .meta({ description: 'The outside system whose setting is changed.' });

const mirror = z
  .strictObject({
    key: storeKey(
      'Where in the store the copy is. {{environment}}, {{tenant}} and {{name}} stand for the parts of the address.',
      { templates: true },
    ),
    property: text(
      'The property of a JSON object that is the copy; without it the whole of it is. For "plain" alone.',
      /^[^\p{Cc}]{1,200}$/u,
      'must be the name of a property, on one line of at most 200 characters',
    ).optional(),
    format: z.enum(['plain', 'active_secrets']).meta({
      description: 'plain: the value of the primary. active_secrets: every accepted version, with its status.',
    }),
  })
  .meta({ description: 'One plain copy.' });

const canary = z
  .strictObject({
    url: z.string().meta({
      description:
        'Where the receivers take deliveries: https unless on loopback. {{environment}} and {{tenant}} may stand in path and query.',
    }),
    count: wholeNumber('How many are sent at once.', 1, 20, 3).optional(),
  })
  .meta({
    description:
      'Messages that are sent right before the switch: signed with the new value they must be accepted, and one signed with a random key refused.',
  });

const timezone = (description: string) => z.string().meta({ description, default: 'UTC' });

const cutover = z
  .strictObject({
    cron: ruled(z.string(), { is: 'cron' }).meta({
      description:
        'When a window opens: minute, hour, day of the month, month, weekday; or six fields, the second first.',
      pattern: '^\\s*(\\S+\\s+){4,5}\\S+\\s*$',
    }),
    duration: duration('How long it stays open.', { least: '1s' }),
    timezone: timezone('The time zone of the expression, by its IANA name.').optional(),
  })
  .meta({ description: 'The times at which an update may start. What has started then is finished.' });

/** A day or an instant of the calendar. */
function moment(description: string) {
  return ruled(z.string(), { is: 'moment' }).meta({
    description,
    pattern: '^2\\d{3}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2}))?$',
  });
}

const oneLine = 'must be one line of at most 200 characters';

const blackout = z
  .strictObject({
    from: moment('Its first day, from the start of it; or the instant at which it begins.'),
    until: moment('Its last day, through the end of it; or the instant at which it is over.'),
    timezone: timezone('The time zone of the days, by its IANA name.').optional(),
    reason: text('Why; shown where a run waits for its end.', /^[^\p{Cc}]{1,200}$/u, oneLine).optional(),
    environments: z
      .array(z.string())
      .min(1, 'must name at least one environment')
      .meta({ description: 'The environments that it holds in; without it, in each.' })
      .optional(),
  })
  .meta({ description: 'A span in which no rotation is started by schedule and no update starts.' });

const secretFields = {
  tenants: z
    .array(z.string().regex(addressPart, nameSentence))
    .min(1, 'must name at least one tenant')
    .meta({ description: 'The secret exists once for each, at an address of its own.' })
    .optional(),
  owner: text('Who is asked about it.', /^[^\p{Cc}]{1,200}$/u, oneLine).optional(),
  direction: choice('direction', ['inbound'], ['outbound'])
    .meta({ description: 'inbound: our fleet verifies what the upstream signs.', default: 'inbound' })
    .optional(),
  store: z.string().meta({ description: 'The name of a secret store in `stores`.', default: 'local' }).optional(),
  key: storeKey('Where in the store the keyring is; the default is the address.', { templates: false }).optional(),
  mirror: z
    .array(mirror)
    .meta({ description: 'Plain copies in the same store, for readers that know nothing of keyturn.', default: [] })
    .optional(),
  generate: generate.optional(),
  scheme: z
    .enum(['github', 'meta'], {
      error: ({ input }) => {
        if (typeof input === 'object' && input !== null) return `a scheme descriptor is ${notInThisVersion}`;
        return typeof input === 'string' && laterSchemes.includes(input)
          ? `the scheme "${input}" is ${notInThisVersion}`
          : undefined;
      },
    })
    .meta({ description: 'How deliveries are signed. Leave it out where nothing verifies requests.' })
    .optional(),
  rotateEvery: duration('How old a value may become; without it nothing is rotated by age.', {
    least: '1s',
  }).optional(),
  cutover: cutover.optional(),
  receivers: receivers.optional(),
  gates: gates.optional(),
  canary: canary.optional(),
  approvals: wholeNumber('How many people must approve the switch, and again the revocation.', 0, 10, 0).optional(),
  upstream: upstream.optional(),
};

const layer = (description: string) => z.strictObject(secretFields).meta({ description });

const secret = (description: string) =>
  z
    .strictObject({
      environments: z
        .array(z.string())
        .min(1, 'must name at least one environment')
        .meta({ description: 'The environments that it exists in; without it, in each.' })
        .optional(),
      ...secretFields,
    })
    .meta({ description });

const environment = z
  .strictObject({
    defaults: layer('Fields for every secret of this environment; they win over the top `defaults`.').optional(),
    secrets: named(
      'Fields for single secrets in this environment; they win over everything else.',
      layer('Fields of this secret in this environment.'),
    ).optional(),
  })
  .meta({ description: 'One environment.' });

export const policySchema = z
  .strictObject({
    $schema: z.string().meta({ description: 'Lets an editor complete and check this file.' }).optional(),
    version: z
      .literal(policyVersion, {
        error: ({ input }) =>
          typeof input === 'number' && input > policyVersion
            ? `is ${String(input)}, and this keyturn reads policies of version ${String(policyVersion)}: use a newer keyturn`
            : undefined,
      })
      .meta({ description: 'The version of this file format.' }),
    journal: journal.optional(),
    usage: usage.optional(),
    stores: named(
      'The secret stores by name. Without it there is one, "local", in .keyturn/secrets.',
      store,
    ).optional(),
    defaults: secret('Any field of a secret, for all of them.').optional(),
    environments: named(
      'Environments by name. A secret then exists in each, or in those it names.',
      environment,
    ).optional(),
    secrets: named('The secrets by name.', secret('One secret.')),
    notify: emptyList('notifications are'),
    blackouts: z
      .array(blackout)
      .meta({ description: 'Spans in which nothing is started by schedule and no update starts.', default: [] })
      .optional(),
    retain: z
      .strictObject({
        runs: wholeNumber('How many ended runs of each secret stay, with their events.', 1, 100_000, 50).optional(),
      })
      .meta({ description: 'What the journal keeps.' })
      .optional(),
    naming: z
      .string()
      .meta({ description: 'A regular expression for the whole name of a secret; `check` warns of the others.' })
      .optional(),
  })
  .meta({
    title: 'Rotation policy of keyturn',
    description: 'What keyturn rotates, where it is kept, who uses it and what must be true before each step.',
  });

/** The policy file as people write it. */
export type PolicyFile = z.infer<typeof policySchema>;
export type EnvironmentFields = z.infer<typeof environment>;
export type SecretFields = z.infer<ReturnType<typeof secret>>;
export type UpstreamFields = z.infer<typeof upstream>;
export type HttpStepFields = z.infer<typeof httpStep>;
export type BlackoutFields = z.infer<typeof blackout>;
export type MirrorFields = z.infer<typeof mirror>;
export type CanaryFields = z.infer<typeof canary>;
export type PoolFields = z.infer<typeof pool>;

/** The JSON Schema that editors complete and check with; shipped as `rotation-policy.schema.json`. */
export function policyJsonSchema(): Readonly<Record<string, unknown>> {
  return { ...z.toJSONSchema(policySchema, { io: 'input', target: 'draft-7' }) };
}

/** The same for `accepted.ts`: no word for people, and each rule as data. Kept as `shape.json`. */
export function policyShape(): Readonly<Record<string, unknown>> {
  return { ...z.toJSONSchema(policySchema, { io: 'input', target: 'draft-7', reused: 'ref', metadata: ruleOf }) };
}
