/** The secret, port and token file that `keyturn init` writes and `keyturn practice` serves. */
export const practiceSecret = 'practice-hook';
export const practicePort = 4747;
export const practiceTokenFile = '.keyturn/practice-token';

/** How the one who reads this calls keyturn: from its own folder by npm, from anywhere else by npx. */
export function callWords(): string {
  return process.env['npm_lifecycle_event'] === 'keyturn' ? 'npm run -s keyturn --' : 'npx keyturn';
}
