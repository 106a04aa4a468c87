import { styleText } from 'node:util';
import { CommanderError } from 'commander';
import { isFull } from '../base/db/db.ts';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import { surroundings } from '../base/surroundings.ts';
import { note } from './output.ts';

/**
 * What was asked for could not be done, or not all of it: exit code 1. (A UsageError is exit code 2.) Without a
 * message, everything has been printed already.
 */
export class Failed extends Error {
  override name = 'Failed';
}

/**
 * Prints what went wrong to stderr: one line for an expected error, the stack for a bug of ours.
 * @returns the exit code
 */
export function report(error: unknown): number {
  // Commander has already printed its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Failed && error.message === '') return 1;
  const expected = error instanceof Failed || error instanceof UsageError;
  complain(expected ? error.message : (explain(error) ?? stackOf(error)));
  return error instanceof UsageError ? 2 : 1;
}

export function complain(text: string): void {
  note(`${styleText('red', 'error:', { stream: surroundings().stderr })} ${text}`);
}

const stackOf = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error));

export type Diagnosis = { what: string; fix?: string };

/** A fault of the database, or of the connection to it, in one line; undefined for anything else. */
export function explain(error: unknown): string | undefined {
  const found = diagnose(error);
  return found && (found.fix ? `${found.what}: ${found.fix}` : found.what);
}

const fixes: Record<string, string> = {
  '28P01': 'check the user and the password in DATABASE_URL',
  '28000': 'check the user in DATABASE_URL, and sslmode if the server requires TLS',
  '3D000': 'check the name of the database at the end of DATABASE_URL',
  '42501': 'connect as the owner of the tables, or as a role with rights on them',
};

/** What is wrong with the database, or with the connection to it, and how to fix it; undefined for other errors. */
export function diagnose(error: unknown): Diagnosis | undefined {
  const code = codeOf(error) ?? '';
  // https://www.postgresql.org/docs/current/errcodes-appendix.html
  if (/^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) return refusal(error, code);
  // There is one failure for each address of a name: the first says as much as all of them.
  const message = messageOf(error instanceof AggregateError ? error.errors[0] : error);
  const fix = networkFix(code, message);
  return fix === undefined ? undefined : { what: `Postgres cannot be reached (${message})`, fix };
}

/** Whether no route leads to the server, or its name has no address that this machine can use. */
export function isUnreachable(error: unknown): boolean {
  const codes = [error, ...(error instanceof AggregateError ? error.errors : [])].map((each) => codeOf(each) ?? '');
  return codes.some((code) => /^(ENETUNREACH|EHOSTUNREACH|ENOTFOUND|EADDRNOTAVAIL)$/.test(code));
}

function refusal(error: unknown, code: string): Diagnosis {
  // Undefined table, column or schema.
  if (['42P01', '42703', '3F000'].includes(code))
    return { what: `The database lacks tables of Rowmill (${messageOf(error)})`, fix: 'run rowmill migrate' };
  if (isFull(error))
    return {
      what: `No connection is left: the server or a pooler says ${messageOf(error)} (${code})`,
      fix:
        'raise max_connections or the size of the pool, lower DATABASE_CONNECTIONS of the workers, ' +
        'or close connections that are not needed',
    };
  const fix = fixes[code] ?? (error as { hint?: string }).hint;
  return { what: `Postgres says: ${messageOf(error)} (${code})`, ...(fix ? { fix } : {}) };
}

function networkFix(code: string, message: string): string | undefined {
  if (code === 'ECONNREFUSED') return 'check the host and the port in DATABASE_URL, and that Postgres runs';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'check the host in DATABASE_URL';
  if (/^E(CONNRESET|PIPE|HOSTUNREACH|NETUNREACH|TIMEDOUT)$/.test(code) || /timeout|timed out/i.test(message))
    return 'check DATABASE_URL, and firewalls between here and the server';
  if (/SSL|certificate/i.test(message)) return 'check sslmode in DATABASE_URL';
  if (/Connection terminated|SASL|Invalid URL/i.test(message)) return 'check DATABASE_URL';
  return undefined;
}
