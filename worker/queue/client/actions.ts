import { transaction, type Db, type Tx } from '../../base/db/db.ts';
import { codeOf, messageOf, UsageError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import type { Log } from '../../base/log.ts';
import { again, cancelJobs, prioritiseJobs, rescheduleJobs, retryJobs, type Change, type Status } from './operate.ts';
import { parseSearch, type Search } from './search-words.ts';
import { nextJobs } from './search.ts';

// What people did, in the table operator_actions; and actions on many jobs, which go on after the process that began
// them has died: migrations/0023_operator_actions.sql.

const sql = loadStatements(import.meta.dirname, 'actions.sql', [
  'log_action',
  'begin_action',
  'read_action',
  'list_actions',
  'any_running',
  'claim_action',
  'write_step',
  'set_state',
  'bound_step',
]);

export type Action = {
  id: number;
  at: Date;
  who: string;
  action: string;
  subject: string;
  settings: { run_at?: string; priority?: number };
  outcome: string;
  state: 'running' | 'done' | 'stopped' | 'failed';
  jobs: number | null;
  changed: number;
  after_id: number | null;
  until_id: number | null;
  step_at: Date | null;
  ended_at: Date | null;
};

type Logged = { who: string; action: string; subject: string; settings?: object; outcome: string; changed: number };

/** Writes down what somebody did. @returns its id */
export async function logAction(db: Queryable, { settings = {}, ...action }: Logged): Promise<number> {
  const row = { ...action, subject: action.subject.slice(0, 4_000), outcome: action.outcome.slice(0, 2_000) };
  const [logged] = await query<{ id: number }>(db, sql.log_action, { ...row, settings: JSON.stringify(settings) });
  return logged!.id;
}

/** Undefined: there is none with this id. */
export async function readAction(db: Queryable, id: number): Promise<Action | undefined> {
  return (await query<Action>(db, sql.read_action, { id }))[0];
}

/** The latest first. @param before the id of the last one of the page before */
export async function listActions(
  db: Queryable,
  { before, limit }: { before: number | null; limit: number },
): Promise<Action[]> {
  return query<Action>(db, sql.list_actions, { before, limit });
}

/** What can be done to many jobs: to which states, and which of them if the search names none. */
export const bulkActions = {
  retry: { allowed: ['pending', 'completed', 'failed', 'cancelled'], usual: ['failed'] },
  cancel: { allowed: ['pending', 'processing'], usual: ['pending', 'processing'] },
  reschedule: { allowed: ['pending'], usual: ['pending'] },
  priority: { allowed: ['pending'], usual: ['pending'] },
} as const satisfies Record<string, { allowed: Status[]; usual: Status[] }>;
export type BulkAction = keyof typeof bulkActions;

export const isBulkAction = (name: string): name is BulkAction => Object.hasOwn(bulkActions, name);

/** The jobs of a search to which an action is done. Jobs that are chosen by their ids need no state to be named. */
export function searchFor(action: BulkAction, subject: string, now: Date): Search {
  const search = parseSearch(subject, now);
  const { allowed, usual } = bulkActions[action];
  const wanted: readonly Status[] = search.states ?? (search.ids ? allowed : usual);
  const states = wanted.filter((status) => (allowed as readonly Status[]).includes(status));
  if (states.length === 0) throw new UsageError(`Only jobs that are ${allowed.join(', ')} can be meant by ${action}`);
  return { ...search, states };
}

/** Begins an action on all jobs that a search finds now. `work` of some process does it. */
export async function beginAction(
  db: Queryable,
  action: { who: string; action: BulkAction; subject: string; settings: object; jobs: number | null },
): Promise<number> {
  searchFor(action.action, action.subject, new Date());
  const [begun] = await query<{ id: number }>(db, sql.begin_action, {
    ...action,
    settings: JSON.stringify(action.settings),
  });
  return begun!.id;
}

/** Stops or resumes one. @returns whether it was in a state that allows it */
export async function setActionState(db: Queryable, id: number, state: 'running' | 'stopped'): Promise<boolean> {
  return (await query(db, sql.set_state, { id, state })).length > 0;
}

/** Jobs of one step: few enough that a step takes a moment, and its locks with it. */
const stepJobs = 500;
/** A search that finds few jobs reads many rows. */
const stepMs = 60_000;

/**
 * Does the next step of the action that has waited longest.
 * @returns whether there was one
 */
export async function doStep(db: Db, log: Log): Promise<boolean> {
  if ((await query(db, sql.any_running)).length === 0) return false;
  return again(() =>
    transaction(db, async (tx) => {
      await query(tx, sql.bound_step, { ms: String(stepMs) });
      const [action] = await query<Action>(tx, sql.claim_action);
      if (!action) return false;
      await tx.query('savepoint step');
      try {
        await step(tx, action);
      } catch (error) {
        // Of the connection, or a conflict with other statements: the next try may succeed.
        if (codeOf(error) !== '57014' && !(error instanceof UsageError)) throw error;
        await tx.query('rollback to savepoint step');
        log.warn({ err: error, action_id: action.id }, 'an action on many jobs failed');
        const words = codeOf(error) === '57014' ? 'the search takes too long: narrow it' : messageOf(error);
        await write(tx, action, { changed: 0, after: action.after_id!, state: 'failed', outcome: words });
      }
      return true;
    }),
  );
}

async function step(tx: Tx, action: Action): Promise<void> {
  const { id, subject, at, settings } = action;
  if (!isBulkAction(action.action)) throw new UsageError(`Action ${id}: there is no ${action.action} of many jobs`);
  const range = { after: action.after_id!, until: action.until_id!, limit: stepJobs };
  const ids = await nextJobs(tx, searchFor(action.action, subject, at), range);
  const changes = ids.length > 0 ? await apply(tx, action.action, ids, settings) : [];
  const changed = changes.filter(({ done }) => done).length;
  const isLast = ids.length < stepJobs;
  await write(tx, action, {
    changed,
    after: ids.at(-1) ?? range.until,
    state: isLast ? 'done' : 'running',
    outcome: '',
  });
}

function apply(tx: Tx, action: BulkAction, ids: number[], settings: Action['settings']): Promise<Change[]> {
  switch (action) {
    case 'retry':
      return retryJobs(tx, { ids });
    case 'cancel':
      return cancelJobs(tx, ids);
    case 'reschedule':
      return rescheduleJobs(tx, ids, new Date(settings.run_at!));
    case 'priority':
      return prioritiseJobs(tx, ids, settings.priority!);
  }
}

const write = (
  tx: Tx,
  { id }: Action,
  made: { changed: number; after: number; state: Action['state']; outcome: string },
) => query(tx, sql.write_step, { id, ...made });
