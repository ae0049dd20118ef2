import { KeyturnError } from '../src/model/errors.ts';

/**
 * Loads a package that only some policies need, and that is therefore installed by whoever needs it. Throws
 * `package-missing` with the command that installs it. `what` is the beginning of a sentence: `The store live`.
 */
export async function optionalPackage<T>(name: string, what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!isMissing(error, name)) throw error;
    throw new KeyturnError('package-missing', `${what} needs the package ${name}, which is not installed.`, {
      hint: `npm install ${name}`,
      details: { package: name },
      cause: error,
    });
  }
}

/** Not where a package that is there lacks one of its own: to install it anew is then no help. */
function isMissing(error: unknown, name: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  const isUnresolved = error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND';
  return isUnresolved && (error.message.includes(`'${name}'`) || error.message.includes(`"${name}"`));
}
