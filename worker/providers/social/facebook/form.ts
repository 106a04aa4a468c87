import type { Adapter } from '../adapter.ts';

/** One way to publish on a page. */
export type Form = Pick<Adapter, 'prepare' | 'upload' | 'submit' | 'status' | 'find'>;
