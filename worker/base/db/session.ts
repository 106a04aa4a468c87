import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import pg from 'pg';
import { readAddress, type Address } from '../address.ts';

/** The longest time that opening a connection may take. */
export const connectTimeoutMs = 5_000;
/** How long closing a connection may take. */
const goodbyeMs = 2_000;

/**
 * What we rely on, and a role, a database or postgresql.conf may have set differently. Set with one statement at
 * connect, not with the startup option `options`: poolers refuse that.
 * https://www.pgbouncer.org/config.html#ignore_startup_parameters
 */
const pins = [
  // How values are written and read.
  `set client_encoding = 'UTF8'`,
  `set standard_conforming_strings = on`,
  `set datestyle = 'ISO, MDY'`,
  `set intervalstyle = 'postgres'`,
  `set timezone = 'UTC'`,
  `set extra_float_digits = 1`,
  `set bytea_output = 'hex'`,
  `set lc_monetary = 'C'`,
  `set lc_numeric = 'C'`,
  `set lc_time = 'C'`,
  `set array_nulls = on`,
  `set transform_null_equals = off`,
  // What a transaction is.
  `set default_transaction_isolation = 'read committed'`,
  `set default_transaction_read_only = off`,
  `set default_transaction_deferrable = off`,
  `set row_security = on`,
  // Nothing but our own limits ends a transaction.
  `set statement_timeout = 0`,
  `set lock_timeout = 0`,
  `set idle_in_transaction_session_timeout = 0`,
  `set idle_session_timeout = 0`,
  `select set_config('transaction_timeout', '0', false) where current_setting('transaction_timeout', true) is not null`,
  // When a client vanishes, the server notices within half a minute, and releases its locks.
  `set tcp_keepalives_idle = 10`,
  `set tcp_keepalives_interval = 5`,
  `set tcp_keepalives_count = 3`,
  // Our statements are short: compiling them takes longer than running them.
  `set jit = off`,
  // Some errors are known only by their text. Superusers may choose its language.
  `select set_config('lc_messages', 'C', false) from pg_roles
    where rolname = current_user and rolsuper and current_setting('lc_messages') !~* '^(c|posix|en)([_.]|$)'`,
].join('; ');

export type SessionOptions = {
  /** SQL that runs after our own settings at connect, such as a `set`. */
  setUp?: string;
  /** How long a statement may take before its connection is given up. */
  queryTimeoutMs?: number;
  connectTimeoutMs?: number;
  /** The process that the session belongs to, as a uuid. The fleet ends the sessions of a frozen process. */
  instance?: string;
};

type Config = pg.PoolConfig & SessionOptions & { address: Address };

/** Members of pg's Client that its types leave out. */
type Wire = NodeJS.EventEmitter & { stream: Socket; ssl: unknown };
type Inside = { connection: Wire; ssl: unknown; readyForQuery?: boolean };

/** The configuration of a session, for pg's own pool, too. @throws UsageError for an invalid address */
export function sessionConfig(databaseUrl: string, options: SessionOptions = {}): Config {
  const address = readAddress(databaseUrl);
  const { host, port, user, password, database, ssl } = address;
  return {
    ...options,
    address,
    ...(host ? { host } : {}),
    ...(port ? { port } : {}),
    ...(user ? { user } : {}),
    ...(password ? { password } : {}),
    ...(database ? { database } : {}),
    ssl,
    application_name: address.application_name ?? 'rowmill',
    ...(address.options ? { options: address.options } : {}),
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
  };
}

/** Errors of connections that never opened: no statement was sent. */
const unsent = new WeakSet<Error>();

/** pg's pool says this when all its connections stayed in use for connectionTimeoutMillis. */
const noPlace = 'timeout exceeded when trying to connect';

/** Whether no statement was sent, because there was no connection to send it on. */
export function isUnsent(error: unknown): boolean {
  // A limit, because an error may be the cause of its own cause.
  for (let cause = error, left = 10; cause instanceof Error && left > 0; cause = cause.cause, left--)
    if (unsent.has(cause) || cause.message === noPlace) return true;
  return false;
}

/** All sessions that are open in this process. */
export const openSessions = new Set<Session>();

/**
 * A connection with our settings that is never used again once it is broken: after an error with which the server ends
 * it, after 25006 (the server is now a standby), after a statement without an answer. It may be given back to its pool,
 * which removes an ended client.
 */
export class Session extends pg.Client {
  readonly #config: Config;
  /** When the last answer came, or when the current statement was sent. */
  quietSince = 0;
  #patience: NodeJS.Timeout | undefined;
  /** The pid of the server's process; 0 before the session is open. */
  pid = 0;
  /** Counts statements, to tell which one is being answered. */
  statement = 0;

  constructor(config: Config) {
    super(config);
    this.#config = config;
    this.on('error', () => {});
    this.#wire.on('errorMessage', (error: Refusal) => isFatal(error) && this.destroy());
    this.#wire.on('readyForQuery', () => this.#answered());
    this.once('end', () => {
      openSessions.delete(this);
      clearTimeout(this.#patience);
    });
  }

  get #inside(): Inside {
    return this as unknown as Inside;
  }

  get #wire(): Wire {
    return this.#inside.connection;
  }

  get instance(): string | undefined {
    return this.#config.instance;
  }

  /** Outside of a transaction, and of a pool. */
  get restsInPool(): boolean {
    return this.#config.max !== undefined && this.silentMs === 0 && this.getTransactionStatus() === 'I';
  }

  /** Whether the connection is encrypted. */
  get encrypted(): boolean {
    return 'encrypted' in this.#wire.stream;
  }

  /** How long a statement has been waiting for its answer; 0 if none is. */
  get silentMs(): number {
    return this.#inside.readyForQuery === false ? performance.now() - this.quietSince : 0;
  }

  override connect(): Promise<any>;
  override connect(callback: (error: any, client?: any) => void): void;
  override connect(callback?: (error: any, client?: any) => void): Promise<any> | void {
    const opened = this.#open();
    if (!callback) return opened;
    // oxlint-disable-next-line promise/no-callback-in-promise
    opened.then(() => setImmediate(callback, null, this), callback);
  }

  async #open(): Promise<this> {
    openSessions.add(this);
    const patienceMs = this.#config.connectTimeoutMs ?? connectTimeoutMs;
    const late = setTimeout(() => this.destroy(new Error('timeout expired')), patienceMs);
    try {
      await this.#negotiate();
      await this.#connected();
      const { setUp, instance, address } = this.#config;
      const path = address.schema && `set search_path to ${pg.escapeIdentifier(address.schema)}`;
      const mine = instance && `select pg_advisory_lock_shared(${instanceKey(`'${instance}'`)})`;
      const settings = [pins, path, setUp, mine, 'select pg_backend_pid() as pid'].filter(Boolean).join('; ');
      const answers = (await this.query(settings)) as pg.QueryResult<{ pid: number }>[];
      this.pid = answers.at(-1)!.rows[0]!.pid;
      return this;
    } catch (error) {
      if (error instanceof Error) unsent.add(error);
      openSessions.delete(this);
      this.destroy();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  /**
   * pg's own promise never settles if the socket closes without an error after `end` was called: so it was when the
   * time limits of the pool and of the session passed together. Its caller would hang, and hold its place in the pool.
   */
  #connected(): Promise<unknown> {
    const closed = new Promise<never>((_, reject) =>
      this.once('end', () => reject(new Error('Connection terminated'))),
    );
    closed.catch(() => {});
    return Promise.race([super.connect(), closed]);
  }

  /** `prefer` and `allow` accept a server without TLS. */
  async #negotiate(): Promise<void> {
    const { address } = this.#config;
    if (!address.ssl || (address.sslmode !== 'prefer' && address.sslmode !== 'allow')) return;
    if (await offersTls(this.host, this.port)) return;
    this.#inside.ssl = this.#wire.ssl = false;
  }

  override query(...given: any[]): any {
    if (this.#inside.readyForQuery !== false) this.#asked();
    return Reflect.apply(super.query, this, given) as unknown;
  }

  #asked(): void {
    this.statement++;
    this.quietSince = performance.now();
    const { queryTimeoutMs } = this.#config;
    if (!queryTimeoutMs) return;
    if (this.#patience) this.#patience.refresh();
    else this.#patience = setTimeout(() => this.#giveUp(), queryTimeoutMs).unref();
  }

  #giveUp(): void {
    const { queryTimeoutMs = 0 } = this.#config;
    if (this.silentMs >= queryTimeoutMs * 0.9) this.destroy(new Error('Query read timeout'));
  }

  /** Of several statements that were sent one after another, the next one waits from now on. */
  #answered(): void {
    this.statement++;
    this.quietSince = performance.now();
    this.#patience?.refresh();
  }

  /** Ends it at once, without a goodbye. @param error with which its statements reject */
  destroy(error?: Error): void {
    this.#wire.stream.destroy(error);
    void this.end();
  }

  override end(callback?: (error: Error) => void): any {
    const late = setTimeout(() => this.#wire.stream.destroy(), goodbyeMs);
    this.once('end', () => clearTimeout(late));
    if (!this.pid) late.unref();
    return Reflect.apply(super.end, this, callback ? [callback] : []) as unknown;
  }
}

/** The advisory lock that all sessions of a process share. @param instance SQL */
const instanceKey = (instance: string) => `hashtextextended('rowmill ' || ${instance}::uuid::text, 0::bigint)`;

type Refusal = { severity?: string; code?: string; routine?: string };

/**
 * 25006: the server became a standby, or read-only. RevalidateCachedQuery: a column changed its type, so every
 * statement that this connection has prepared on it fails from now on.
 */
function isFatal({ severity, code, routine }: Refusal): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code === '25006' || routine === 'RevalidateCachedQuery';
}

/** Negotiates TLS as libpq does. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL */
async function offersTls(host: string, port: number): Promise<boolean> {
  const socket = connect(port, host);
  socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error('timeout expired')));
  try {
    await once(socket, 'connect');
    socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString('latin1') === 'S';
  } finally {
    socket.destroy();
  }
}
