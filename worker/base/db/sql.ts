import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { isStale, types } from './db.ts';
import { withRetries } from '../retry.ts';

/**
 * SQL lives in `.sql` files beside its one user, as named statements:
 *
 *     -- name: start_jobs
 *     update :"live" set status = 'processing' where id = any(:ids)
 *
 * `:ids` is a parameter, given by name when the statement runs. `:"live"` is an identifier, filled in once by `bind`.
 */
export type Statement = {
  name: string;
  text: string;
  params: string[];
  /** What a connection prepares it under: unique by its text. */
  prepared: string;
};

/** Anything that runs SQL: a pool, a client, a transaction. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

/** The statements of one file by name, `Optional` ones where the file has them. */
export type Statements<Name extends string, Optional extends string = never> = Record<Name, Statement> &
  Partial<Record<Optional, Statement>>;

/** The folder of the file; in dist/ its text, which .build/finish.ts puts there. */
type Source = string | { text: string };

/**
 * The statements of one file, for the code that uses them. TypeScript cannot read the file, so the code lists their
 * names.
 * @throws when the file lacks a statement of `names`, or has one that is listed nowhere
 */
export function loadStatements<const Name extends string, const Optional extends string = never>(
  from: Source,
  file: string,
  names: readonly Name[],
  optional: readonly Optional[] = [],
): Statements<Name, Optional> {
  const found = readStatements(from, file);
  const missing = names.filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`${file} has no statement named ${missing.join(', ')}`);
  const listed: readonly string[] = [...names, ...optional];
  const unlisted = [...found.keys()].filter((name) => !listed.includes(name));
  if (unlisted.length > 0)
    throw new Error(`${file} has a statement named ${unlisted.join(', ')}, which the code that loads it does not list`);
  return Object.fromEntries(found) as Statements<Name, Optional>;
}

/** All statements of a file by name, in the order in which they stand there. */
export function readStatements(from: Source, file: string): Map<string, Statement> {
  const statements = new Map<string, Statement>();
  const source = typeof from === 'string' ? readFileSync(join(from, file), 'utf8') : from.text;
  for (const part of source.split(/^-- name: /m).slice(1)) {
    const name = /^(\w+)\s*$/m.exec(part.slice(0, part.indexOf('\n')))?.[1];
    if (!name) throw new Error(`${file}: a statement without a name`);
    if (statements.has(name)) throw new Error(`${file} has two statements named ${name}`);
    statements.set(name, parse(name, part.slice(name.length)));
  }
  return statements;
}

/** The same statements, each with its identifiers filled in. */
export function bindEach<Name extends string>(
  statements: Record<Name, Statement>,
  identifiers: Record<string, string>,
): Record<Name, Statement> {
  const bound = Object.entries<Statement>(statements).map(([name, statement]) => [name, bind(statement, identifiers)]);
  return Object.fromEntries(bound) as Record<Name, Statement>;
}

/** Fills in the `:"name"` identifiers. */
export function bind(statement: Statement, identifiers: Record<string, string>): Statement {
  const text = statement.text.replace(/:"(\w+)"/g, (_, key: string) => {
    const value = identifiers[key];
    if (value === undefined) throw new Error(`${statement.name}: no identifier given for :"${key}"`);
    return quoted(value);
  });
  return { ...statement, text, prepared: preparedName(statement.name, text) };
}

/** A name as SQL has it, whatever characters it is of. */
export const quoted = (name: string): string => pg.escapeIdentifier(name);

/** A text as SQL has it, whatever characters it is of. */
export const literal = (text: string): string => pg.escapeLiteral(text);

/**
 * A connection on which nothing is prepared: it is not ours, and may go through a pooler that gives each statement to
 * another.
 */
export function unprepared(db: Queryable): Queryable {
  const run = (config: pg.QueryConfig) => db.query({ ...config, name: '' });
  return { query: run as Queryable['query'] };
}

/** Reads values as our own connections do, whatever connection it is. */
export async function query<Row extends pg.QueryResultRow>(
  db: Queryable,
  statement: Statement,
  values: Record<string, unknown> = {},
): Promise<Row[]> {
  const unknown = Object.keys(values).filter((key) => !statement.params.includes(key));
  if (unknown.length > 0) throw new Error(`${statement.name} has no parameter ${unknown.join(', ')}`);
  const missing = statement.params.filter((param) => values[param] === undefined);
  if (missing.length > 0) throw new Error(`${statement.name}: no value for ${missing.join(', ')}`);
  const config = {
    name: statement.prepared,
    text: statement.text,
    values: statement.params.map((param) => values[param]),
    types,
  };
  const ask = async () => (await db.query<Row>(config)).rows;
  if (!(db instanceof pg.Pool)) return ask();
  // Each connection that prepared it before a column changed its type is ended by this error, and replaced.
  return withRetries(ask, stale, undefined, { tries: db.options.max + 1, waitMs: 0 });
}

const stale = (error: unknown) => (isStale(error) ? {} : undefined);

// What may hold a colon that is not ours comes first: comments, strings, quoted names, casts.
const tokens = /--[^\n]*|'(?:[^']|'')*'|:"\w+"|"[^"]*"|::|:([a-z_]\w*)/g;

function parse(name: string, source: string): Statement {
  const params: string[] = [];
  const text = source.replace(tokens, (token, param?: string) => {
    if (token.startsWith('--')) return '';
    if (param === undefined) return token;
    if (!params.includes(param)) params.push(param);
    return `$${params.indexOf(param) + 1}`;
  });
  const whole = text.trim().replace(/;$/, '');
  return { name, params, text: whole, prepared: preparedName(name, whole) };
}

/** Postgres cuts names at 63 characters. */
export function preparedName(name: string, text: string): string {
  return `${name.slice(0, 50)}_${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
}
