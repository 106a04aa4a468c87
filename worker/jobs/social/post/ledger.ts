import type { App } from '../../../app.ts';
import { transaction, type Tx } from '../../../base/db/db.ts';
import { persist } from '../../../base/db/persist.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { codeOf, isOf, messageOf, PermanentError, Snooze } from '../../../base/errors.ts';
import { isSealed, open } from '../../../base/seal.ts';
import type { Receipt, State } from '../../../providers/social/adapter.ts';
import type { Platform } from '../../../providers/social/social.ts';
import type { JobRow } from '../../../queue/job.ts';
import type { PublishPayload } from './payload.ts';

/** The rows of social_posts and social_attempts, as the execution that holds a post reads and writes them. */

const sql = loadStatements(import.meta.dirname, 'ledger.sql', [
  'add_post',
  'post_of_job',
  'take_post',
  'read_post',
  'save_state',
  'note_reason',
  'open_attempt',
  'begin_attempt',
  'end_attempt',
  'post_accepted',
  'post_published',
  'post_failed',
  'post_unconfirmed',
  'of_other_posts',
]);

type Given = Pick<App, 'db' | 'config'>;
type Step = 'prepare' | 'upload' | 'submit' | 'poll' | 'done';

export type PostRow = {
  id: number;
  account_id: number | null;
  platform: Platform | null;
  content: unknown;
  settings: unknown;
  status: 'draft' | 'scheduled' | 'publishing' | 'processing' | 'published' | 'failed' | 'unconfirmed' | 'cancelled';
  step: Step;
  state: State;
  /** In the clear. */
  upload_url: string | null;
  external_id: string | null;
  url: string | null;
  job_id: number | null;
};

export type Attempt = {
  id: number;
  status: 'sending' | 'accepted' | 'ambiguous';
  sent_at: Date;
  age_ms: number;
};

/**
 * The post of a job, which this execution holds from now on, unless it is published already.
 * @throws PermanentError `social_post_not_found`, `social_post_not_scheduled`; Snooze while another job has it
 */
export async function takePost(given: Given, job: JobRow, payload: PublishPayload): Promise<PostRow> {
  const id = payload.postId ?? (await addPost(given, job, payload));
  const [taken] = await query(given.db, sql.take_post, { id, job_id: job.id, job_attempt: job.attempt });
  const post = await readPost(given, id);
  if (!post) throw new PermanentError('social_post_not_found', `There is no row ${id} in social_posts`);
  if (taken || post.status === 'published') return post;
  if (post.status === 'draft' || post.status === 'cancelled')
    throw new PermanentError('social_post_not_scheduled', `Post ${id} is ${post.status}: it is not published`);
  throw new Snooze(busyMs, `job ${post.job_id} publishes post ${id}`);
}

const busyMs = 30_000;

async function addPost({ db }: Given, { id: job_id }: JobRow, payload: PublishPayload): Promise<number> {
  const { accountId, platform, content, settings } = payload;
  await query(db, sql.add_post, {
    account_id: accountId ?? null,
    platform: platform ?? null,
    content: JSON.stringify(content),
    settings: JSON.stringify(settings ?? {}),
    job_id,
  }).catch((error: unknown) => {
    if (codeOf(error) !== '23503') throw error;
    throw new PermanentError('social_account_not_found', `There is no row ${accountId} in social_accounts`);
  });
  const [post] = await query<{ id: number }>(db, sql.post_of_job, { job_id });
  return post!.id;
}

async function readPost({ db, config }: Given, id: number): Promise<PostRow | undefined> {
  const [post] = await query<PostRow>(db, sql.read_post, { id });
  if (!post || !isSealed(post.upload_url)) return post;
  return { ...post, upload_url: String(open(post.upload_url, placeOf(id), config.keyring)) };
}

const placeOf = (id: number) => ({ table: 'social_posts', row: String(id), field: 'upload_url' });

/** The row of a post, while an execution holds it. What it writes is in `row`, too. */
export class Held {
  readonly row: PostRow;
  readonly #given: Given;
  readonly #holder: { id: number; job_id: number; job_attempt: number };

  constructor(given: Given, row: PostRow, job: JobRow) {
    this.row = row;
    this.#given = given;
    this.#holder = { id: row.id, job_id: job.id, job_attempt: job.attempt };
  }

  /** @throws Snooze if the post is no longer ours */
  async save(step: Step, state: State, uploadUrl: string | null): Promise<void> {
    const { db, config } = this.#given;
    const { keyring } = config;
    const upload_url = uploadUrl !== null && keyring ? keyring.seal(uploadUrl, placeOf(this.row.id)) : uploadUrl;
    const values = { ...this.#holder, step, state: JSON.stringify(state), upload_url };
    const [saved] = await query(db, sql.save_state, values);
    if (!saved) throw lost(this.row.id);
    Object.assign(this.row, { step, state, upload_url: uploadUrl });
  }

  /** What it waits for. */
  async note(reason: string): Promise<void> {
    await query(this.#given.db, sql.note_reason, { ...this.#holder, reason: reason.slice(0, 500) });
  }

  /** Of ids that the platform gave to posts, those that are of no other row. */
  async strangers(external_ids: string[]): Promise<string[]> {
    const { id, platform } = this.row;
    const values = { id, platform, external_ids };
    const others = await query<{ external_id: string }>(this.#given.db, sql.of_other_posts, values);
    return external_ids.filter((each) => !others.some(({ external_id }) => external_id === each));
  }

  /** The attempt that was made, and is not known to have failed. */
  async attempt(): Promise<Attempt | undefined> {
    const [attempt] = await query<Attempt>(this.#given.db, sql.open_attempt, { post_id: this.row.id });
    return attempt;
  }

  /** Committed before the request goes out. @returns its id @throws Snooze if the post is no longer ours */
  async beginAttempt(fingerprint: string): Promise<number> {
    const { id: post_id, job_id, job_attempt } = this.#holder;
    const values = { post_id, job_id, job_attempt, fingerprint };
    const [begun] = await query<{ id: number }>(this.#given.db, sql.begin_attempt, values);
    if (!begun) throw lost(post_id);
    return begun.id;
  }

  /** The platform took it. While Postgres is away, this waits for it: nobody else knows. */
  async accepted(attempt: number, { external_id, url }: Receipt): Promise<void> {
    const { id, job_id } = this.#holder;
    await this.#write(async (tx) => {
      await query(tx, sql.end_attempt, { id: attempt, status: 'accepted', error_code: null, error: null });
      await query(tx, sql.post_accepted, { id, job_id, external_id: external_id ?? null, url: url ?? null });
    });
    Object.assign(this.row, { step: 'poll', status: 'processing', upload_url: null });
    this.row.external_id = external_id ?? this.row.external_id;
    this.row.url = url ?? this.row.url;
  }

  /** It certainly was not taken: another attempt may follow. Or nobody knows. */
  async ended(attempt: number, status: 'definite_failure' | 'ambiguous', error: unknown): Promise<void> {
    const { error_code, words } = shortOf(error);
    await this.#write(async (tx) => {
      await query(tx, sql.end_attempt, { id: attempt, status, error_code, error: words });
    });
  }

  /** The platform took it and did not publish it. */
  async failed(attempt: number | undefined, error: Error): Promise<void> {
    const { id, job_id } = this.#holder;
    const { error_code, words } = shortOf(error);
    await this.#write(async (tx) => {
      const status = 'definite_failure';
      if (attempt !== undefined) await query(tx, sql.end_attempt, { id: attempt, status, error_code, error: words });
      await query(tx, sql.post_failed, { id, job_id, final: isOf(error, PermanentError), error_code, error: words });
    });
    Object.assign(this.row, { step: 'prepare', state: {}, upload_url: null, external_id: null, url: null });
  }

  /** A person must look. @returns what fails the job */
  async unconfirmed(attempt: number, why: string): Promise<PermanentError> {
    const { id, job_id } = this.#holder;
    const todo = `It is not sent again: rowmill post show ${id}`;
    const words = `Nobody knows whether post ${id} was published (${why}). ${todo}`;
    const error = new PermanentError('social_unconfirmed', words);
    const error_code = error.code;
    await this.#write(async (tx) => {
      const ended = { status: 'ambiguous', error_code, error: why.slice(0, 2_000) };
      await query(tx, sql.end_attempt, { id: attempt, ...ended });
      await query(tx, sql.post_unconfirmed, { id, job_id, error_code, error: words });
    });
    return error;
  }

  /** In the transaction that completes the job. */
  async publishedIn(tx: Tx, { external_id, url }: Receipt, note: string | undefined): Promise<void> {
    const { id, job_id } = this.#holder;
    const values = { id, job_id, external_id: external_id ?? null, url: url ?? null, reason: note ?? null };
    await query(tx, sql.post_published, values);
  }

  async #write(work: (tx: Tx) => Promise<void>): Promise<void> {
    await persist(() => transaction(this.#given.db, work), undefined);
  }
}

const lost = (id: number) => new Snooze(busyMs, `another execution holds post ${id}, or it was cancelled`);

const shortOf = (error: unknown) => ({
  error_code: (codeOf(error) ?? (error instanceof Error ? error.name : 'unknown')).slice(0, 60),
  words: messageOf(error).slice(0, 2_000),
});
