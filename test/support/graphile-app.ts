/**
 * An application of somebody else's on graphile-worker: `node graphile-app.ts <version> <schema> <url>`. Its tasks have
 * the names of our queues. Prints a line for each job it does; a job that says `hold` ends when the application is told
 * to go on.
 */
import { once } from 'node:events';
import { graphileWorkers } from './graphile-versions.ts';

const [version, schema, connectionString] = process.argv.slice(2) as [string, string, string];
const { run } = await graphileWorkers[version]!();

const task = (queue: string) => async (payload: { n?: unknown; hold?: boolean }) => {
  console.log(`${payload.hold ? 'holds' : 'did'} ${queue} ${JSON.stringify(payload)}`);
  if (!payload.hold) return;
  await once(process, 'SIGUSR2');
  console.log(`did ${queue} ${JSON.stringify(payload)}`);
};
const runner = await run({
  connectionString,
  schema,
  concurrency: 2,
  noHandleSignals: true,
  // What is added before it listens is found by the next look.
  pollInterval: 1_000,
  taskList: { media: task('media'), cleanup: task('cleanup') },
});
console.log('ready');
await runner.promise;
console.log('ended');
