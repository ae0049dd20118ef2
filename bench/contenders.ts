import { createHmac, timingSafeEqual } from 'node:crypto';
import { verifyWithFallback } from '@octokit/webhooks-methods';
import Keygrip from 'keygrip';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { sign } from '../src/webhook/hmac.ts';

/** Headers as Node hands them out, and the bytes that arrived. */
export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One way to verify a message. What it needs for all messages alike was made before. */
export interface Way {
  readonly name: string;
  /** Where its signature stands. */
  readonly header: string;
  /** Whether `accepts` gives a promise. */
  readonly answersLater: boolean;
  /** The headers that a sender with this value sends. */
  readonly signed: (value: string, body: Buffer) => Readonly<Record<string, string>>;
  readonly accepts: (message: Message) => boolean | Promise<boolean>;
}

export const githubHeader = 'x-hub-signature-256';

export function signedAsGithub(value: string, body: Buffer): Readonly<Record<string, string>> {
  return {
    host: 'hooks.example.com',
    'user-agent': 'GitHub-Hookshot/1',
    'content-type': 'application/json',
    'x-github-event': 'push',
    // As Node's parser makes it from bytes, not as a concatenation still to be flattened.
    [githubHeader]: Buffer.from(sign('github', value, body)[githubHeader] ?? '').toString('latin1'),
  };
}

/** One key, one `createHmac` from the text of the secret, a hexadecimal digest, `timingSafeEqual` over two Buffers. */
export function documentsOwn(value: string): Way {
  return {
    name: "the documents' single-key code",
    header: githubHeader,
    answersLater: false,
    signed: signedAsGithub,
    accepts: ({ headers, body }) => {
      const signature = headers[githubHeader];
      if (signature === undefined) return false;
      const expected = `sha256=${createHmac('sha256', value).update(body).digest('hex')}`;
      const left = Buffer.from(signature);
      const right = Buffer.from(expected);
      return left.length === right.length && timingSafeEqual(left, right);
    },
  };
}

/** It takes text only, so that the bytes that arrived are turned into it first. */
export function octokit(first: string, second: string): Way {
  return {
    name: '@octokit/webhooks-methods, second of two keys',
    header: githubHeader,
    answersLater: true,
    signed: signedAsGithub,
    accepts: async ({ headers, body }) => {
      const signature = headers[githubHeader];
      return (
        signature !== undefined && (await verifyWithFallback(first, body.toString(), signature, [second])) === true
      );
    },
  };
}

/** Parses the body as well: nothing else of it is a verification that its users call. */
export function stripe(value: string): Way {
  const header = 'stripe-signature';
  return {
    name: 'stripe constructEvent, one key',
    header,
    answersLater: false,
    signed: (by, body) => ({
      [header]: Stripe.webhooks.generateTestHeaderString({ payload: body.toString(), secret: by }),
    }),
    accepts: ({ headers, body }) =>
      isAccepted(() => Stripe.webhooks.constructEvent(body, headers[header] ?? '', value)),
  };
}

/** Parses the body as well, unless it is told not to, which is what is measured. */
export function standardWebhooks(value: string): Way {
  const header = 'webhook-signature';
  const webhook = new Webhook(value, { format: 'raw' });
  return {
    name: 'standardwebhooks, one key',
    header,
    answersLater: false,
    signed: (by, body) => {
      const id = 'msg_1';
      const now = new Date();
      const signature = new Webhook(by, { format: 'raw' }).sign(id, now, body);
      return { 'webhook-id': id, 'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)), [header]: signature };
    },
    accepts: ({ headers, body }) => isAccepted(() => webhook.verify(body, headers, { jsonParse: false })),
  };
}

export function keygrip(first: string, second: string): Way {
  const header = 'x-signature';
  const keys = new Keygrip([first, second], 'sha256', 'hex');
  return {
    name: 'keygrip, first of two keys',
    header,
    answersLater: false,
    signed: (by, body) => ({ [header]: new Keygrip([by], 'sha256', 'hex').sign(body) }),
    accepts: ({ headers, body }) => {
      const signature = headers[header];
      return signature !== undefined && keys.verify(body, signature);
    },
  };
}

function isAccepted(verify: () => unknown): boolean {
  try {
    verify();
    return true;
  } catch {
    return false;
  }
}
