/** The package itself, `import { createClient, job } from 'rowmill'`: the exports of rowmill/job and rowmill/client. */
export * from './queue/job.ts';
export * from './queue/client/client.ts';
