/** The files of the projects that install the package, as users write them. */
export type Project = Record<string, string>;

const compilerOptions = {
  target: 'es2024',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  noEmit: true,
};

/** A service of TypeScript that Node runs as it is: a kind with its own queue and table, and a test of that kind. */
export const service: Project = {
  'package.json': JSON.stringify({ name: 'service', version: '1.0.0', private: true, type: 'module' }),
  'tsconfig.json': JSON.stringify({
    compilerOptions: { ...compilerOptions, module: 'nodenext', allowImportingTsExtensions: true, types: ['node'] },
    include: ['**/*.ts'],
  }),
  'migrations/0001_greetings.sql': `
    select create_queue('greeting', batch_size => 1, max_retries => 3, backoff_ms => 5000);
    create table greetings (job_id bigint primary key, greeting text not null);`,
  'jobs/greeting/hello.ts': `
    import { job, PermanentError, seconds } from 'rowmill/job';
    import { z } from 'zod';

    export default job({
      name: 'greeting.hello',
      payload: z.object({ to: z.string().min(1) }),
      timeout: seconds(10),
      async run({ job: { id }, payload, commit }) {
        if (payload.to === 'nobody') throw new PermanentError('nobody_there', 'Nobody is there');
        return commit(async (tx) => {
          await tx.query('insert into greetings values ($1, $2)', [id, 'Hello, ' + payload.to]);
          return { greeted: payload.to };
        });
      },
    });`,
  'jobs/greeting/hello.test.ts': `
    import assert from 'node:assert/strict';
    import { test } from 'node:test';
    import { startTestWorker } from 'rowmill/testing';
    import hello from './hello.ts';

    test('a greeting is written down', async () => {
      await using worker = await startTestWorker({ jobs: './jobs', migrations: './migrations' });
      const row = await worker.run(hello, { to: 'you' });
      assert.equal(row.status, 'completed');
      assert.equal((await worker.run(hello, { to: 'nobody' })).error_code, 'nobody_there');
      const { rows } = await worker.db.query('select greeting from greetings');
      assert.deepEqual(rows, [{ greeting: 'Hello, you' }]);
    });`,
  'types.ts': `
    import { createClient, job, minutes, InvalidJob } from 'rowmill';
    import { type Client, type Job, NotCompleted, UsageError } from 'rowmill/client';
    import { DeploymentError, PermanentError, RetryableError, Snooze } from 'rowmill/job';
    import type { BatchJob, JobContext, JobDefinition } from 'rowmill/job';
    import { Queue } from 'rowmill/bullmq';
    import { cleanupQueue } from 'rowmill/cleanup';
    import publishFile from 'rowmill/jobs/publish/file';
    import { mediaQueue } from 'rowmill/media';
    import { notificationQueue, type NotificationEvent } from 'rowmill/notification';
    import { type TestWorker } from 'rowmill/testing';
    import hello from './jobs/greeting/hello.ts';

    export const errors = [DeploymentError, PermanentError, RetryableError, Snooze];
    export const others = [InvalidJob, NotCompleted, UsageError];
    export type Storage = JobContext<unknown>['app']['storage'];
    export const definitions: JobDefinition[] = [hello, job({ ...hello, timeout: minutes(1) })];
    export type Batch = BatchJob<typeof hello.payload>;

    export async function use(client: Client, worker: TestWorker): Promise<Job> {
      const { id } = await client.add(hello, { to: 'a' }, { delay_ms: 1_000 });
      await client.addMany(publishFile, [{ payload: {}, file_id: 'f' }]);
      await mediaQueue(client).addImageProcessingJob('key', 'user', 'message');
      const { addPushNotificationJob, sendBatchNotifications, publish } = notificationQueue(client);
      await addPushNotificationJob('user', 'token', 'Title', 'Body', { chatId: 'chat-123' });
      const counts: { successCount: number; failureCount: number } = await sendBatchNotifications(['user'], 'a', 'b');
      const event: NotificationEvent = { message_id: String(counts.successCount), channel: 'push', payload: {} };
      await publish('notifications.push', event);
      await cleanupQueue(client).addCleanupJob('temp_files');
      const queue = new Queue<{ inputPath: string }>('video-processing', { connection: {} });
      await queue.add('process-video', { inputPath: 'a' }, { attempts: 3, delay: 1_000 });
      // @ts-expect-error: the data has another type
      await queue.add('process-video', { inputPath: 1 });
      await queue.close();
      // @ts-expect-error: a greeting is for somebody
      await client.add(hello, {});
      // @ts-expect-error: no such column
      await client.add(hello, { to: 'a' }, { runAt: new Date() });
      // @ts-expect-error: no text
      await worker.run(hello, { to: 1 });
      return client.wait(id);
    }
    export const other: Client = createClient('postgres://127.0.0.1/none');`,
};

/** A web application whose server code goes through a bundler, as with Next.js 15; with another library of schemas. */
export const bundled: Project = {
  'package.json': JSON.stringify({ name: 'bundled', version: '1.0.0', private: true }),
  // As create-next-app writes it, but that libraries are checked too.
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      ...compilerOptions,
      target: 'es2017',
      lib: ['dom', 'dom.iterable', 'esnext'],
      module: 'esnext',
      moduleResolution: 'bundler',
      esModuleInterop: true,
      resolveJsonModule: true,
      isolatedModules: true,
      jsx: 'preserve',
    },
    include: ['**/*.ts'],
  }),
  'lib/jobs.ts': `
    import { createClient } from 'rowmill/client';
    import * as v from 'valibot';

    const hello = { name: 'greeting.hello', payload: v.object({ to: v.string() }) };

    export async function greet(databaseUrl: string, to: string): Promise<string> {
      const client = createClient(databaseUrl);
      try {
        const { id } = await client.add(hello, { to });
        const { status } = await client.wait(id, { timeoutMs: 20_000 });
        return status;
      } finally {
        await client.close();
      }
    }`,
  'app/route.ts': `
    import { greet } from '../lib/jobs';

    export async function GET(): Promise<Response> {
      return Response.json({ status: await greet(process.env.DATABASE_URL ?? '', 'web') });
    }`,
  'run.ts': `
    import { GET } from './app/route';
    GET().then((response) => response.text()).then(console.log);`,
};
