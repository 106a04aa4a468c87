import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { App } from '../app.ts';
import { within } from '../base/deadline.ts';
import { isTransient } from '../base/db/db.ts';
import type { Added } from '../queue/client/add.ts';
import { showJob, type Job } from '../queue/client/operate.ts';
import { excessOf, faultsOfPayload } from '../queue/payload.ts';
import type { Registry } from '../queue/registry.ts';
import { createAdd } from './ingress/add.ts';
import { allows, callerOf, signerOf, type Access } from './ingress/access.ts';
import { createBacklog } from './ingress/backlog.ts';
import { mostBytes, readJobs, tooLarge } from './ingress/body.ts';
import type { Asked } from './ingress/item.ts';
import { invalid, pointerTo, Problem } from './ingress/problem.ts';

/** After this time a request is answered, whatever Postgres does. */
const patienceMs = 30_000;
/** Bodies that are worked on at once in this process. Parsed, they take several times as much. */
const mostBytesAtOnce = 64 * 1024 * 1024;

type Part = Pick<App, 'db' | 'config' | 'log'>;

/** `POST /jobs` and `GET /jobs/:id`: README.md. Without tokens they are 404. */
export function jobs({ db, config, log }: Part, registry: Registry, { timeoutMs = patienceMs } = {}): Hono {
  const http = new Hono();
  const { tokens, signers, maxBacklog } = config.ingress;
  if (tokens.length + signers.length === 0) return http;
  const add = createAdd(db, { registry, keyring: config.keyring });
  const backlog = createBacklog(db, maxBacklog);

  http.onError((error) => {
    const problem = problemOf(error);
    if (problem.status >= 500) log.error({ err: error, http_status: problem.status }, 'a request for jobs failed');
    return problem.response();
  });
  const callerIn = ({ req }: Context) => callerOf(req.header('authorization'), tokens);
  const isToBeVerified = ({ req }: Context) =>
    signers.length > 0 && !req.header('authorization') && req.header('webhook-signature') !== undefined;
  /** Before the body is read. Only a signature needs it. */
  const authenticate: MiddlewareHandler = async (context, next) => {
    if (!isToBeVerified(context)) callerIn(context);
    await next();
  };
  http.post('/jobs', authenticate, bounded(), limited, async (context) => {
    const { raw } = context.req;
    const body = new Uint8Array(await raw.arrayBuffer());
    const caller = isToBeVerified(context) ? signerOf(raw.headers, body, signers) : callerIn(context);
    const { asked, many } = readJobs(raw.headers, body, `http:${caller.name}`);
    checkAllowed(caller, asked);
    checkPayloads(registry, asked);
    const work = async () => {
      for (const [queue, due] of dueByQueue(asked)) await backlog.take(queue, due);
      return add(asked);
    };
    const added = await inTime(timeoutMs, work());
    const created = added.filter((each) => each.created).length;
    log.debug({ token: caller.name, jobs: added.length, created }, 'jobs came over HTTP');
    return answer(added, many);
  });

  http.get('/jobs/:id', async (context) => {
    const caller = callerIn(context);
    const id = context.req.param('id');
    const job = /^\d{1,15}$/.test(id) ? await inTime(timeoutMs, showJob(db, Number(id))) : undefined;
    if (!job || !allows(caller, `${job.queue}.${job.kind}`))
      throw new Problem(404, 'not_found', 'There is no such job, or its kind is not for this token');
    return context.json(shown(job), 200, { 'cache-control': 'no-store' });
  });
  return http;
}

/** So that many large requests at once do not take the memory of running jobs. */
function bounded(): MiddlewareHandler {
  let bytes = 0;
  return async (context, next) => {
    const length = Math.min(Number(context.req.header('content-length') ?? mostBytes), mostBytes);
    if (bytes + length > mostBytesAtOnce)
      throw new Problem(503, 'busy', 'Too many large requests come at once', { headers: { 'retry-after': '1' } });
    bytes += length;
    try {
      await next();
    } finally {
      bytes -= length;
    }
  };
}

const refuseLarge = () => tooLarge('A request', mostBytes).response();
const counted = bodyLimit({ maxSize: mostBytes, onError: refuseLarge });

/** Node reads no more than the length that a request tells. Only without one is the body counted, as a web stream. */
const limited: MiddlewareHandler = async (context, next) => {
  const length = context.req.header('content-length');
  if (length === undefined || context.req.header('transfer-encoding') !== undefined) return counted(context, next);
  return Number(length) > mostBytes ? refuseLarge() : next();
};

function checkAllowed(caller: Access, asked: readonly Asked[]): void {
  const errors = asked.flatMap(({ job, at }) => {
    const name = `${job.queue}.${job.kind}`;
    return allows(caller, name) ? [] : [{ pointer: pointerTo(at), detail: `the kind ${name.slice(0, 120)}` }];
  });
  if (errors.length > 0)
    throw new Problem(403, 'kind_forbidden', `The token ${caller.name} may not add jobs of these kinds`, {
      errors: errors.slice(0, 20),
    });
}

/** Another worker may have kinds of a queue of which this one has none: such a queue's jobs are not checked here. */
function checkPayloads(registry: Registry, asked: readonly Asked[]): void {
  const names = [...registry.keys()];
  const faults = asked.flatMap(({ job: { queue, kind, payload }, at, payloadAt }) => {
    const definition = registry.get(`${queue}.${kind}`);
    if (definition)
      return faultsOfPayload(definition, payload).map(({ path, message }) => ({
        pointer: pointerTo([...payloadAt, ...path]),
        detail: message,
      }));
    const others = names.filter((name) => name.startsWith(`${queue}.`));
    if (others.length === 0) {
      const excess = excessOf(payload, Infinity);
      return excess ? [{ pointer: pointerTo(payloadAt), detail: excess }] : [];
    }
    return [{ pointer: pointerTo(at), detail: `there is no such kind: queue ${queue} has ${others.join(', ')}` }];
  });
  if (faults.length > 0) throw invalid(faults);
}

function dueByQueue(asked: readonly Asked[]): Map<string, number> {
  const due = new Map<string, number>();
  for (const { job } of asked)
    if (!job.delay_ms && (!job.run_at || job.run_at.getTime() <= Date.now()))
      due.set(job.queue, (due.get(job.queue) ?? 0) + 1);
  return due;
}

async function inTime<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  const done = await within(
    timeoutMs,
    work.then((value) => ({ value })),
  );
  if (done) return done.value;
  throw unavailable(`Postgres has not answered within ${timeoutMs / 1_000} s`);
}

const unavailable = (why: string) =>
  new Problem(
    503,
    'unavailable',
    `${why}: nobody knows whether jobs were added. Repeat the request with the same key`,
    {
      headers: { 'retry-after': '5' },
    },
  );

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isTransient(error)) return unavailable('Postgres cannot be reached');
  return new Problem(500, 'internal_error', 'The log of the worker says what went wrong');
}

function answer(added: readonly Added[], many: boolean): Response {
  const [first] = added;
  const status = added.some(({ created }) => created) ? 201 : 200;
  const headers = { 'cache-control': 'no-store', ...(many ? {} : { location: `/jobs/${first!.id}` }) };
  return Response.json(many ? added : first, { status, headers });
}

const shown = (job: Job) => ({
  id: job.id,
  queue: job.queue,
  kind: job.kind,
  status: job.status,
  priority: job.priority,
  attempt: job.attempt,
  retryCount: job.retry_count,
  maxRetries: job.max_retries,
  progress: job.progress,
  runAt: job.run_at,
  createdAt: job.created_at,
  startedAt: job.started_at,
  completedAt: job.completed_at,
  errorCode: job.error_code,
  error: job.error,
  result: job.result,
});
