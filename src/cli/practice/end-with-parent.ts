/** Preloaded into a program that must not outlive whoever started it: the end of standard input stops it in order. */
process.stdin.on('end', () => {
  process.kill(process.pid, 'SIGTERM');
});
process.stdin.resume();
process.stdin.unref();
