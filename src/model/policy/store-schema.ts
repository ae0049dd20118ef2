import { z } from 'zod';
import { addressPart } from '../address.ts';
import { credential, duration, filePath, group, text } from './fields.ts';

/** The secret stores of the policy: one shape for each kind. What their fields mean together is in `stores.ts`. */

const age = z
  .strictObject({
    identity: credential.meta({
      description:
        'Where the age identity is read from that decrypts the keyrings; a file may be as age-keygen writes it.',
    }),
    recipients: z
      .array(
        z
          .string()
          .regex(
            /^age1(?:(?:pq|tag|tagpq)1)?[02-9ac-hj-np-z]+$/,
            'must be an age recipient, "age1…" as age-keygen prints it',
          ),
      )
      .min(1, 'must name at least one recipient')
      .max(20, 'must name at most 20 recipients')
      .meta({
        description:
          'Who can decrypt what is written from now on; the identity has to be among them. Without it, the identity.',
      })
      .optional(),
  })
  .meta({ description: 'Encrypts the keyrings of the store with age. Plain copies are not encrypted.' });

const file = z
  .strictObject({
    kind: z.literal('file').meta({ description: 'A folder of files.' }),
    path: filePath('The folder of the keyrings.', '.keyturn/secrets').optional(),
    group: group.optional(),
    age: age.optional(),
  })
  .meta({ description: 'One secret store: a folder of files.' });

/** What every store that is asked over a network takes. */
function network(lag: string) {
  return {
    timeout: duration('How long one call to the store may take.', {
      least: '100ms',
      most: '5m',
      default: '10s',
    }).optional(),
    propagationLag: duration(
      'How long after a commit a reader elsewhere may still get the old document; replicas in other regions make it longer.',
      { most: '1h', default: lag },
    ).optional(),
  };
}

const prefixPattern = new RegExp(`^${addressPart.source.slice(1, -1)}(?:/${addressPart.source.slice(1, -1)}){0,7}$`);

function prefix(description: string) {
  return text(
    description,
    prefixPattern,
    'must be made of parts between slashes, each of letters, digits, ".", "_" and "-" with a letter or digit at both ends',
  );
}

/** Without a user and a password, a query or a fragment: credentials have a place of their own. */
function url(description: string) {
  return text(
    description,
    /^https?:\/\/[^\s/?#@]+(?:\/[^\s?#@]*)?$/i,
    'must be a url with http:// or https://, without user, query and fragment',
  );
}

const vaultMount = (description: string, fallback: string) =>
  text(
    description,
    /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/,
    'must be a path of a mount, without slashes around it',
  ).meta({
    description,
    default: fallback,
  });

const vaultAuth = z
  .discriminatedUnion(
    'kind',
    [
      z
        .strictObject({
          kind: z.literal('token').meta({ description: 'A token that somebody made for keyturn.' }),
          token: credential.meta({
            description: 'Where the token is read from; anew whenever the last one was refused.',
          }),
        })
        .meta({ description: 'A token; it is renewed where it can be.' }),
      z
        .strictObject({
          kind: z.literal('approle').meta({ description: 'The AppRole of a machine.' }),
          roleId: credential.meta({ description: 'Where the role id is read from.' }),
          secretId: credential.meta({ description: 'Where the secret id is read from.' }),
          mount: vaultMount('Where AppRole is enabled.', 'approle').optional(),
        })
        .meta({ description: 'Logs in with an AppRole.' }),
      z
        .strictObject({
          kind: z.literal('kubernetes').meta({ description: 'The service account of a pod.' }),
          role: text('The role to log in as.', /^[\w.-]{1,128}$/, 'must be the name of a role'),
          tokenFile: filePath(
            'The file with the token of the service account.',
            '/var/run/secrets/kubernetes.io/serviceaccount/token',
          ).optional(),
          mount: vaultMount('Where Kubernetes is enabled.', 'kubernetes').optional(),
        })
        .meta({ description: 'Logs in with the service account of the pod.' }),
    ],
    { error: 'must have a "kind": "token", "approle" or "kubernetes"' },
  )
  .meta({ description: 'How keyturn shows who it is.' });

const vault = z
  .strictObject({
    kind: z.literal('vault').meta({ description: 'HashiCorp Vault or OpenBao, a KV secrets engine of version 2.' }),
    address: url('The address of the server, such as "https://vault.example.com:8200".'),
    mount: vaultMount('Where the KV secrets engine is mounted.', 'secret').optional(),
    prefix: prefix('The path under the mount that every key begins with.').optional(),
    namespace: text(
      'The namespace, where the server has them.',
      /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/,
      'must be a path of namespaces, without slashes around it',
    ).optional(),
    auth: vaultAuth,
    caFile: filePath(
      'The certificates, in PEM, of the authorities that the server is trusted by, instead of those of the system.',
    ).optional(),
    ...network('0ms'),
  })
  .meta({ description: 'One secret store: Vault or OpenBao.' });

const aws = z
  .strictObject({
    kind: z.literal('aws').meta({ description: 'AWS Secrets Manager.' }),
    region: text(
      'The region of the secrets; without it, what the SDK finds (AWS_REGION, a profile).',
      /^[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}$/,
      'must be the name of a region, such as "eu-central-1"',
    ).optional(),
    endpoint: url('Where Secrets Manager is asked instead of at the address of the region.').optional(),
    prefix: prefix("The path that every secret's name begins with.").optional(),
    kmsKeyId: text(
      'The KMS key that new secrets are encrypted with: its id, its ARN or its alias.',
      /^[\w:/-]{1,2048}$/,
      'must be the id, the ARN or the alias of a KMS key',
    ).optional(),
    tags: z
      .record(
        z.string().regex(/^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+@-]{1,128}$/u, 'must be the key of a tag'),
        z.string().regex(/^[\p{L}\p{Z}\p{N}_.:/=+@-]{0,256}$/u, 'must be the value of a tag'),
      )
      .meta({ description: 'Tags of the secrets that keyturn makes, beside its own.' })
      .optional(),
    credentials: z
      .strictObject({
        accessKeyId: credential.meta({ description: 'Where the access key is read from.' }),
        secretAccessKey: credential.meta({ description: 'Where the secret access key is read from.' }),
        sessionToken: credential
          .meta({ description: 'Where the session token is read from, for temporary credentials.' })
          .optional(),
      })
      .meta({
        description:
          'Credentials; without them, what the SDK finds: a role, the environment, a profile. Better a role.',
      })
      .optional(),
    ...network('5s'),
  })
  .meta({ description: 'One secret store: AWS Secrets Manager.' });

const googleLocation = (description: string) =>
  text(description, /^[a-z]+(?:-[a-z]+)*\d*$/, 'must be the name of a location, such as "europe-west3"');

const google = z
  .strictObject({
    kind: z.literal('google').meta({ description: 'Google Secret Manager.' }),
    project: text(
      'The id or the number of the project.',
      /^(?:[a-z][a-z0-9-]{4,28}[a-z0-9]|\d{1,20})$/,
      'must be the id or the number of a project',
    ),
    location: googleLocation('The location of regional secrets; without it secrets are replicated.').optional(),
    replication: z
      .array(googleLocation('A location.'))
      .min(1, 'must name at least one location')
      .max(20, 'must name at most 20 locations')
      .meta({ description: 'Where new secrets are replicated to; without it, Google chooses.' })
      .optional(),
    kmsKeyName: text(
      'The Cloud KMS key that new secrets are encrypted with.',
      /^projects\/[^/\s]+\/locations\/[^/\s]+\/keyRings\/[^/\s]+\/cryptoKeys\/[^/\s]+$/,
      'must be projects/…/locations/…/keyRings/…/cryptoKeys/…',
    ).optional(),
    labels: z
      .record(
        z.string().regex(/^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$/u, 'must be the key of a label'),
        z.string().regex(/^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$/u, 'must be the value of a label'),
      )
      .meta({ description: 'Labels of the secrets that keyturn makes, beside its own.' })
      .optional(),
    prefix: prefix("The path that every secret's name begins with.").optional(),
    endpoint: url('Where Secret Manager is asked instead of at its own address; by gRPC.').optional(),
    destroyAfter: duration(
      'How long versions that a purge destroys can still be brought back; of secrets that are made from now on.',
      { least: '24h', most: '1000d' },
    ).optional(),
    credentials: credential
      .meta({
        description:
          'Where the key of a service account is read from, the JSON of the console; without it, what the SDK finds. Better none.',
      })
      .optional(),
    ...network('0ms'),
  })
  .meta({ description: 'One secret store: Google Secret Manager.' });

export const store = z
  .discriminatedUnion('kind', [file, vault, aws, google], {
    error: ({ input }) =>
      typeof input === 'object' && input !== null ? 'must be one of "file", "vault", "aws", "google"' : undefined,
  })
  .meta({ description: 'One secret store.' });

/** The fields of a store as people write them. */
export type StoreFields = z.infer<typeof store>;
export type FileStoreFields = z.infer<typeof file>;
export type VaultStoreFields = z.infer<typeof vault>;
export type AwsStoreFields = z.infer<typeof aws>;
export type GoogleStoreFields = z.infer<typeof google>;
