import { transaction, type Db } from '../../../base/db/db.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import type { Attempt, PostRow } from './ledger.ts';

/** What people do with posts, from the command line. */

const sql = loadStatements(import.meta.dirname, 'operate.sql', [
  'list_posts',
  'calendar',
  'show_post',
  'steps_of_post',
  'attempts_of_post',
  'resolve_published',
  'resolve_unpublished',
  'run_again',
  'cancel_post',
]);

export type ListedPost = Pick<PostRow, 'id' | 'account_id' | 'platform' | 'status' | 'step' | 'url'> & {
  title: string | null;
  scheduled_at: Date;
  published_at: Date | null;
  reason: string | null;
  error_code: string | null;
};

type PostFilter = { status?: string | undefined; account?: number | undefined; limit: number };

/** The newest first. */
export const listPosts = (db: Db, { status, account, limit }: PostFilter): Promise<ListedPost[]> =>
  query<ListedPost>(db, sql.list_posts, { status: status ?? null, account_id: account ?? null, limit });

/** Those that are due in a period, the earliest first. */
export const calendarOf = (db: Db, since: Date, until: Date): Promise<ListedPost[]> =>
  query<ListedPost>(db, sql.calendar, { since, until });

export type ShownPost = Omit<PostRow, 'upload_url'> & {
  scheduled_at: Date;
  published_at: Date | null;
  reason: string | null;
  error_code: string | null;
  error: string | null;
  steps: { status: string; step: string; reason: string | null; at: Date }[];
  attempts: (Pick<Attempt, 'id' | 'sent_at'> & {
    status: string;
    error_code: string | null;
    error: string | null;
    resolved_by: string | null;
  })[];
};

/** A post, its way, and what was tried. */
export async function showPost(db: Db, id: number): Promise<ShownPost | undefined> {
  const [post] = await query<Omit<ShownPost, 'steps' | 'attempts'>>(db, sql.show_post, { id });
  if (!post) return undefined;
  const steps = await query<ShownPost['steps'][number]>(db, sql.steps_of_post, { id });
  const attempts = await query<ShownPost['attempts'][number]>(db, sql.attempts_of_post, { id });
  return { ...post, steps, attempts };
}

/**
 * A person says what became of an unconfirmed post. Its job runs again: it ends at once if the post was published, and
 * publishes it if it was not.
 * @param url where it is; undefined: it was not published
 * @returns false if the post is not unconfirmed
 */
export const resolvePost = (db: Db, id: number, url: string | undefined, by: string): Promise<boolean> =>
  transaction(db, async (tx) => {
    const found =
      url === undefined
        ? await query<{ job_id: number }>(tx, sql.resolve_unpublished, { id, by })
        : await query<{ job_id: number }>(tx, sql.resolve_published, { id, by, url });
    const [resolved] = found;
    if (resolved) await query(tx, sql.run_again, { job_id: resolved.job_id });
    return resolved !== undefined;
  });

/** @throws an error of Postgres if it has been submitted @returns false if there is no such post to cancel */
export async function cancelPost(db: Db, id: number): Promise<boolean> {
  return (await query(db, sql.cancel_post, { id })).length > 0;
}
