import { hash } from 'node:crypto';

/** As good as the text itself to tell states apart, and short. */
export function digest(text: string): string {
  return hash('sha1', text, 'base64');
}
