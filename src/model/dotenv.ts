/**
 * One line of an env file that a shell (`. FILE`) and Node (`--env-file`, `util.parseEnv`) read as the same value; null
 * where there is none. In single quotes both take everything as it is, in double quotes only what is special to neither.
 * Node drops carriage returns wherever they stand.
 */
export function dotenvLine(name: string, value: string): string | null {
  if (/[\0\r]/.test(value)) return null;
  if (!value.includes("'")) return `${name}='${value}'`;
  return /["$`\\]/.test(value) ? null : `${name}="${value}"`;
}

/** What a shell and Node take as the name of a variable. */
export const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The usual variable for a secret of that name: `github-webhook` → `GITHUB_WEBHOOK`. */
export function variableOf(name: string): string {
  const word = name.toUpperCase().replaceAll(/[^A-Z0-9]+/g, '_');
  return /^\d/.test(word) ? `_${word}` : word;
}
