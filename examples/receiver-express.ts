import express from 'express';
import { webhook } from 'keyturn/express';
import { openReceiver } from 'keyturn/receiver';

// The policy is ./rotation-policy.json, or the one that KEYTURN_POLICY names.
const secret = process.env['SECRET'] ?? 'practice-hook';
const keyturn = await openReceiver({ secrets: [secret] });

const app = express();
app.all('/', webhook(keyturn, { secret }), (request, response) => {
  request.webhook.json();
  response.sendStatus(200);
});
const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? '') : ''}`);
});

process.once('SIGTERM', () => {
  // A sender that keeps its connections open would keep a closing server up for as long as it sends.
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'));
  // First the last answers, then the sign-off: what is answered after it would not be counted.
  server.close(() => void keyturn.close());
});
