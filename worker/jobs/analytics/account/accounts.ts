import { z } from 'zod';
import { PermanentError } from '../../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';

/** Which accounts a job is about. */

const sql = loadStatements(import.meta.dirname, 'accounts.sql', ['find_accounts']);

export const accountFields = {
  /** Only this account: the id of a row of analytics_accounts. */
  account: z.int().min(1).optional(),
  /** Only accounts of this platform. */
  platform: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,49}$/)
    .optional(),
};

const day = z.iso.date();

/** Days in the account's time zone, both included. */
export const period = {
  from: day.optional(),
  until: day.optional(),
};

type Given = { account?: number | undefined; platform?: string | undefined };

/** Fits `superRefine`: a period does not end before it begins. */
export function checkPeriod(
  { from, until }: { from?: string | undefined; until?: string | undefined },
  context: z.RefinementCtx,
): void {
  if (from !== undefined && until !== undefined && until < from)
    context.addIssue({ code: 'custom', path: ['until'], message: `is before from, ${from}` });
}

/** @returns the ids of accounts. @throws PermanentError `analytics_account_not_found` */
export async function findAccounts(db: Queryable, { account, platform }: Given): Promise<number[]> {
  const rows = await query<{ id: number }>(db, sql.find_accounts, {
    account: account ?? null,
    platform: platform ?? null,
  });
  if (rows.length === 0 && account !== undefined)
    throw new PermanentError(
      'analytics_account_not_found',
      `analytics_accounts has no row with id ${account}${platform === undefined ? '' : ` of platform ${platform}`}`,
    );
  return rows.map(({ id }) => id);
}
