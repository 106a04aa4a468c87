import type { z } from 'zod';
import type { NewJob } from '../../queue/client/new-job.ts';
import { pointerTo, type Fault } from './problem.ts';

export type Path = readonly PropertyKey[];

/** A job that a request asks for, and where in its body the job and the payload are. */
export type Asked = { job: NewJob; at: Path; payloadAt: Path };

/** One item of a request, whatever form the request has. */
export type Item = {
  /** Such as `media.image`, or an alias. */
  key: string;
  kindAt: Path;
  payload: unknown;
  payloadAt: Path;
  /** The other columns. */
  options: Omit<NewJob, 'queue' | 'kind' | 'payload'>;
};

/** What a schema says about the value at `at`. */
export function faultsIn({ issues }: z.ZodError, at: Path): Fault[] {
  return issues.flatMap((issue) => {
    const path = [...at, ...issue.path];
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({ pointer: pointerTo([...path, key]), detail: 'is no field of a job' }));
    return [{ pointer: pointerTo(path), detail: issue.message }];
  });
}
