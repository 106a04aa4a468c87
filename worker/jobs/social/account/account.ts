import type { App } from '../../../app.ts';
import { transaction, type Db, type Tx } from '../../../base/db/db.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { isOf, PermanentError, Snooze, UsageError } from '../../../base/errors.ts';
import { open, type Keyring } from '../../../base/seal.ts';
import type { Connected, Tokens } from '../../../providers/social/auth.ts';
import { Limited, ReconnectNeeded, TokenRefused } from '../../../providers/social/errors.ts';
import type { Platform } from '../../../providers/social/social.ts';
import { noteLimit, respectLimits } from './limits.ts';
import { tellToReconnect } from './tell.ts';

/** The rows of social_accounts: access tokens for whoever asks a platform, and their renewal, one at a time. */

const sql = loadStatements(import.meta.dirname, 'account.sql', [
  'find_account',
  'lock_account',
  'store_tokens',
  'ask_to_reconnect',
  'account_id_of',
  'new_account_id',
  'put_account',
  'list_accounts',
  'remove_account',
]);

type Given = Pick<App, 'db' | 'config' | 'social' | 'log'>;

/** What a request to a platform needs. `account_id` is null for a token that came with a job. */
export type Access = {
  account_id: number | null;
  platform: Platform;
  /** The platform's id of the account. */
  external_id: string;
  name: string | null;
  /** In the clear. Never log it. */
  token: string;
};

type Row = Omit<Access, 'account_id' | 'token'> & {
  id: number;
  access_token: string;
  refresh_token: string | null;
  status: 'active' | 'needs_reconnect' | 'disabled';
  status_reason: string | null;
  expires_ms: number | null;
  lifetime_ms: number | null;
};

/**
 * Runs `work` with a valid access token of an account. A token that is about to expire is renewed before. If the
 * platform refuses the token, it is renewed, and `work` runs once more: it must go on where it was.
 * @param forMs how long `work` may take: the token is good for at least that long, if tokens of the platform ever are
 * @throws PermanentError `social_account_not_found`, `social_account_disabled`; Snooze while the account must be
 *   connected again; what `work` throws
 */
export async function withAccess<T>(
  given: Given,
  account_id: number,
  { signal, forMs = 0 }: { signal: AbortSignal; forMs?: number },
  work: (access: Access) => Promise<T>,
): Promise<T> {
  const access = await accessTo(given, account_id, { signal, forMs });
  try {
    return await work(access);
  } catch (error) {
    if (error instanceof ReconnectNeeded) throw await reconnect(given, account_id, error);
    if (!(error instanceof TokenRefused)) throw error;
  }
  const renewed = await renew(given, account_id, signal, ({ token }) => token === access.token);
  try {
    return await work(renewed);
  } catch (error) {
    if (error instanceof ReconnectNeeded || error instanceof TokenRefused)
      throw await reconnect(given, account_id, error);
    throw error;
  }
}

/** @throws as `withAccess` */
export async function accessTo(
  given: Given,
  account_id: number,
  { signal, forMs = 0 }: { signal: AbortSignal; forMs?: number },
): Promise<Access> {
  const [row] = await query<Row>(given.db, sql.find_account, { id: account_id });
  const access = accessIn(row, account_id, given);
  if (!isExpiring(row!, forMs)) return access;
  await respectLimits(given.db, access);
  return renew(given, account_id, signal, (_, now) => isExpiring(now, forMs));
}

/** Renews the tokens of an account, whether they need it or not. @throws as `withAccess` */
export const renewNow = (given: Given, account_id: number, signal: AbortSignal): Promise<Access> =>
  renew(given, account_id, signal, () => true);

/** A fifth of its life before its end, or earlier for a work that takes longer. */
const isExpiring = ({ expires_ms, lifetime_ms }: Row, forMs: number) =>
  expires_ms !== null && expires_ms < Math.max((lifetime_ms ?? 0) / 5, forMs);

/** The renewals that are under way in this process, so that they do not hold a connection each. */
const renewals = new WeakMap<Db, Map<number, Promise<Access>>>();

/** @param isNeeded whether it still is, by what is stored */
async function renew(
  given: Given,
  account_id: number,
  signal: AbortSignal,
  isNeeded: (access: Access, row: Row) => boolean,
): Promise<Access> {
  signal.throwIfAborted();
  const running = renewals.get(given.db) ?? new Map<number, Promise<Access>>();
  renewals.set(given.db, running);
  const earlier = running.get(account_id);
  if (earlier) return earlier;
  const renewal = renewLocked(given, account_id, isNeeded).finally(() => running.delete(account_id));
  running.set(account_id, renewal);
  return renewal;
}

/**
 * Renews the tokens under the lock of the row: another process that wants to finds them renewed. The new refresh token
 * is committed before the access token is used, because the old one may be void.
 */
async function renewLocked(
  given: Given,
  account_id: number,
  isNeeded: (access: Access, row: Row) => boolean,
): Promise<Access> {
  const found = await transaction(given.db, async (tx) => {
    const [row] = await query<Row>(tx, sql.lock_account, { id: account_id });
    const access = accessIn(row, account_id, given);
    if (!isNeeded(access, row!)) return access;
    try {
      // Others wait for this, so the signal of one job does not end it.
      const signal = AbortSignal.timeout(2 * given.config.social.timeoutMs);
      const tokens = await askToRenew(given, row!, access, signal);
      await storeTokens(tx, row!.id, tokens, given.config.keyring!);
      return { ...access, token: tokens.access_token };
    } catch (error) {
      if (error instanceof Limited) return noteLimit(tx, access, error);
      if (!(error instanceof ReconnectNeeded)) throw error;
      return error;
    }
  });
  if (found instanceof ReconnectNeeded) throw await reconnect(given, account_id, found);
  if (isOf(found, Snooze)) throw found;
  return found;
}

async function askToRenew({ social, config }: Given, row: Row, access: Access, signal: AbortSignal): Promise<Tokens> {
  const { id, platform, external_id, refresh_token } = row;
  const place = { table: 'social_accounts', row: String(id), field: 'refresh_token' };
  const opened = refresh_token === null ? null : String(open(refresh_token, place, config.keyring));
  // Instagram makes the new token of the old one.
  if (opened === null && platform !== 'instagram')
    throw new ReconnectNeeded('the account has no refresh token, so its access token cannot be renewed');
  const tokens = { external_id, access_token: access.token, refresh_token: opened };
  return social[platform].auth.renew(tokens, { signal });
}

async function storeTokens(tx: Tx, id: number, tokens: Tokens, keyring: Keyring): Promise<void> {
  await query(tx, sql.store_tokens, { id, ...sealedTokens(id, tokens, keyring) });
}

function sealedTokens(id: number, { access_token, refresh_token, lives }: Tokens, keyring: Keyring) {
  const seal = (field: string, value: string) =>
    keyring.seal(value, { table: 'social_accounts', row: String(id), field });
  return {
    access_token: seal('access_token', access_token),
    refresh_token: refresh_token === undefined ? null : seal('refresh_token', refresh_token),
    lives: lives ?? null,
  };
}

/** @throws PermanentError, Snooze: see `withAccess` */
function accessIn(row: Row | undefined, account_id: number, { config }: Given): Access {
  if (!row) throw new PermanentError('social_account_not_found', `There is no row ${account_id} in social_accounts`);
  const { platform, external_id, name, access_token, status, status_reason } = row;
  if (status === 'disabled')
    throw new PermanentError('social_account_disabled', `The account ${account_id} of ${platform} is disabled`);
  if (status === 'needs_reconnect') throw held(account_id, platform, status_reason);
  const place = { table: 'social_accounts', row: String(account_id), field: 'access_token' };
  return { account_id, platform, external_id, name, token: String(open(access_token, place, config.keyring)) };
}

/** Its posts wait. A trigger lets them go on when the account is active again. */
const held = (account_id: number, platform: string, reason: string | null) =>
  new Snooze(heldMs, `account ${account_id} of ${platform} must be connected again: ${reason ?? 'no reason given'}`);

const heldMs = 6 * 3_600_000;

/** Writes down that the owner must connect the account again, and tells somebody. @returns the wait of its jobs */
async function reconnect(given: Given, id: number, { message }: Error): Promise<Snooze> {
  const { db, config, log } = given;
  const reason = message.slice(0, 500);
  const platform = await transaction(db, async (tx) => {
    const [row] = await query<Row>(tx, sql.lock_account, { id });
    const [changed] = await query(tx, sql.ask_to_reconnect, { id, reason });
    if (row && changed) await tellToReconnect(tx, config, { ...row, status_reason: reason });
    if (row && changed)
      log.warn({ account_id: id, platform: row.platform, reason }, 'an account must be connected again');
    return row?.platform ?? 'none';
  });
  return held(id, platform, reason);
}

/**
 * Stores the tokens of an account that was connected, or connected again.
 * @returns its id
 * @throws UsageError without SEAL_KEYS
 */
export async function putAccount(
  { db, config }: { db: Db; config: { keyring: Keyring | undefined } },
  platform: Platform,
  connected: Connected,
): Promise<number> {
  const { keyring } = config;
  if (!keyring)
    throw new UsageError('SEAL_KEYS is not set: the tokens of accounts are stored sealed (openssl rand -base64 32)');
  const { external_id, name, scopes } = connected;
  return transaction(db, async (tx) => {
    const known = await query<{ id: number }>(tx, sql.account_id_of, { platform, external_id });
    const [{ id }] = (known.length > 0 ? known : await query<{ id: number }>(tx, sql.new_account_id)) as [
      { id: number },
    ];
    const rest = { external_id, name: name?.slice(0, 200) ?? null, scopes: scopes ?? [] };
    await query(tx, sql.put_account, { id, platform, ...rest, ...sealedTokens(id, connected, keyring) });
    return id;
  });
}

export type ListedAccount = Pick<Row, 'id' | 'platform' | 'external_id' | 'name' | 'status' | 'status_reason'> & {
  access_expires_at: Date | null;
  refreshed_at: Date;
  scopes: string[];
  /** How many of its posts are not published yet. */
  waiting: number;
};

export const listAccounts = (db: Db): Promise<ListedAccount[]> => query<ListedAccount>(db, sql.list_accounts);

/** @returns false if there is no such account, or posts of it wait */
export async function removeAccount(db: Db, id: number): Promise<boolean> {
  return (await query(db, sql.remove_account, { id })).length > 0;
}
