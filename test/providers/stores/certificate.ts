import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A certificate for 127.0.0.1 that no authority stands behind; both in PEM. */
export async function selfSigned(): Promise<{ readonly certificate: string; readonly privateKey: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-tls-'));
  try {
    const [key, out] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-keyout', key, '-out', out, ...subject],
    ]);
    return { certificate: await readFile(out, 'utf8'), privateKey: await readFile(key, 'utf8') };
  } finally {
    await rm(folder, { recursive: true });
  }
}
