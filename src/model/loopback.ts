/** 127.0.0.0/8, ::1 and localhost, as `URL.hostname` has them. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
