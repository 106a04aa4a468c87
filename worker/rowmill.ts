/** The package itself, `import { createClient, job } from 'rowmill'`: what its parts rowmill/job and rowmill/client export. */
export * from './queue/job.ts';
export * from './queue/client/client.ts';
