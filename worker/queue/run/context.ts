import type { Tx } from '../../base/db/db.ts';
import { serializersFor, type Log } from '../../base/log.ts';
import type { JobContext } from '../job.ts';
import type { Attempting, AttemptOptions } from './attempting.ts';
import { commit, commitTogether, type Write } from './commit.ts';
import { rateLimit } from './rate-limit.ts';

type ContextOptions = Pick<AttemptOptions, 'app' | 'ledger' | 'log'>;

/** What a handler gets for one attempt. */
export const contextOf = (attempting: Attempting, payload: unknown, options: ContextOptions): JobContext<unknown> =>
  new Context(attempting, payload, options);

/** Handlers destructure it, so no function in it uses `this`. What few handlers need is made when they ask for it. */
class Context implements JobContext<unknown> {
  readonly #attempting: Attempting;
  readonly #options: ContextOptions;
  readonly payload: unknown;

  constructor(attempting: Attempting, payload: unknown, options: ContextOptions) {
    this.#attempting = attempting;
    this.#options = options;
    this.payload = payload;
  }

  get job() {
    return this.#attempting.row;
  }

  get app() {
    return this.#options.app;
  }

  get log() {
    const { hide } = this.#attempting;
    return this.#options.log.child(named(this.#attempting), hide && { serializers: serializersFor(hide) });
  }

  get signal() {
    return this.#attempting.stop.signal;
  }

  get progress() {
    return (percent: number) => {
      this.#attempting.progress = Math.max(0, Math.min(100, Math.round(percent)));
    };
  }

  get waiting() {
    return <T>(what: string, turn: Promise<T>) => waitFor(this.#attempting, what, turn, this.#options.log);
  }

  get aside() {
    return () => this.#attempting.lease?.stepAside();
  }

  get commit() {
    return <Result>(work: (tx: Tx) => Promise<Result>) => commit(this.#attempting, work, this.#options);
  }

  get commitTogether(): JobContext<unknown>['commitTogether'] {
    const member = { attempting: this.#attempting, context: this };
    return <Item, Result>(write: Write<Item>, item: Item, result: Result) =>
      commitTogether({ ...member, item, result }, write, this.#options);
  }

  get rateLimit() {
    return (key: string, perSecond: number, n = 1) => rateLimit(this.app.db, key, perSecond, n, this.signal);
  }
}

const named = ({ row: { id, kind, attempt } }: Attempting) => ({ kind, job_id: id, attempt });

/** Longer waits are written to the log and to the worker's row. */
export const longWaitMs = 5_000;

async function waitFor<T>(attempting: Attempting, what: string, turn: Promise<T>, log: Log): Promise<T> {
  const since = Date.now();
  attempting.waits = { for: what, since };
  const told = setTimeout(() => log.info({ ...named(attempting), waits_for: what }, 'the job waits'), longWaitMs);
  try {
    return await attempting.stop.await(turn);
  } finally {
    clearTimeout(told);
    delete attempting.waits;
    const waited_ms = Date.now() - since;
    if (waited_ms > longWaitMs) log.info({ ...named(attempting), waited_for: what, waited_ms }, 'the job goes on');
  }
}
