import { readFileSync } from 'node:fs';

/** The version of this package, as its manifest says. */
export function packageVersion(): string {
  const root = import.meta.url.endsWith('.ts') ? '..' : '../..';
  const text = readFileSync(new URL(`${root}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** How keyturn names itself to others; without the version where the manifest is not at hand, as in a bundle. */
export function userAgent(): string {
  try {
    return `keyturn/${packageVersion()}`;
  } catch {
    return 'keyturn';
  }
}
