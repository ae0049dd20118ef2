import { createServer } from 'node:http';
import { webhook } from 'keyturn/node';
import { openReceiver } from 'keyturn/receiver';

// A receiver with many secrets, each at its own path: `SECRETS=a,b` serves /a and /b. `ID` is what it is called.
const { SECRETS = '', ID: id } = process.env;
const secrets = SECRETS.split(',');
const keyturn = await openReceiver({ secrets, ...(id === undefined ? {} : { id }) });

const handlers = new Map(
  secrets.map((secret) => [
    `/${secret}`,
    webhook(keyturn, { secret }, (_request, response) => void response.end('ok')),
  ]),
);
const server = createServer((request, response) => {
  const handle = handlers.get(request.url ?? '');
  if (handle === undefined) response.writeHead(404).end();
  else handle(request, response);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on http://127.0.0.1:${typeof address === 'object' ? String(address?.port) : ''}`);
});

process.once('SIGTERM', () => {
  // First the last answers, then the sign-off: what is answered after it would not be counted.
  server.close(() => void keyturn.close());
});
