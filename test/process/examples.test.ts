import { Agent, get } from 'node:http';
import { describe, expect, it } from 'vitest';
import { until } from './support/until.ts';
import { World } from './support/world.ts';

describe.concurrent('the receivers of examples/', { timeout: 240_000 }, () => {
  it.for(['node', 'express', 'fetch'] as const)(
    '%s: SIGTERM ends it and signs it off, however busy a sender keeps its connections',
    async (program, { onTestFinished }) => {
      const world = await World.open(onTestFinished);
      await world.adopt();
      const receiver = await world.startReceiver(program);
      const agent = new Agent({ keepAlive: true, maxSockets: 4 });
      onTestFinished(() => agent.destroy());
      let answered = 0;
      const askOn = (): void => {
        get(receiver.url, { agent }, (response) => {
          response.resume().on('end', () => {
            answered++;
            askOn();
          });
        }).on('error', () => undefined);
      };
      for (let connection = 0; connection < 4; connection++) askOn();
      await until('the connections are busy', () => answered > 100);
      receiver.process.kill('SIGTERM');
      const ended = await receiver.process.finished;
      expect(ended).toMatchObject({ code: 0, signal: null });
      expect((await world.status()).receivers, 'nobody is live: it has signed off').toEqual([]);
    },
  );
});
