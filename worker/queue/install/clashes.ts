import type { Client } from '../../base/db/db.ts';
import { messageOf, UsageError } from '../../base/errors.ts';
import type { Migration } from '../../base/db/migrate.ts';
import type { Names } from '../../base/db/names.ts';
import { loadStatements, query, quoted } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'clashes.sql', [
  'taken',
  'used_table',
  'used_columns',
  'tickets_taken',
]);

/**
 * Checks the schema before anything is created in it: whether it has tables, views, sequences, types or functions with
 * the names that the migrations are about to use, and whether the user's tables that they extend can be used.
 * @throws UsageError that names everything that clashes
 */
export async function refuseClashes(client: Client, names: Names, pending: Migration[]): Promise<void> {
  if (pending.length === 0) return;
  const { schema } = names;
  const text = pending.map((file) => file.sql.replaceAll(/^ *--.*$/gm, '')).join('\n');
  const fresh = pending.some(({ name }) => name === firstMigration);
  const found = [
    ...(fresh ? await takenTickets(client, names) : []),
    ...(await taken(client, schema, text)),
    ...(await unusable(client, schema, text)),
  ];
  if (found.length === 0) return;
  const listed =
    found.length > longestList ? [...found.slice(0, longestList), `and ${found.length - longestList} more`] : found;
  throw new UsageError(
    `Schema ${schema} has what Rowmill's tables would clash with, so nothing was changed:\n  ${listed.join('\n  ')}\n` +
      'Rename what clashes, or give Rowmill a schema of its own: ' +
      `ROWMILL_SCHEMA=${schema === 'rowmill' ? 'jobs' : 'rowmill'} creates it.`,
  );
}

const firstMigration = '0000_closed.sql';
const longestList = 12;

async function takenTickets(client: Client, { tickets, schema }: Names): Promise<string[]> {
  const [row] = await query<{ found: boolean }>(client, sql.tickets_taken, { tickets });
  if (!row?.found) return [];
  return [
    `schema ${tickets}, where the tickets of ${schema} would be, exists already: ` +
      'drop it if a Rowmill that was removed left it',
  ];
}

/**
 * By the statements at the beginning of lines. Objects that are created only if they are missing are indented, in a
 * block.
 */
async function taken(client: Client, schema: string, text: string): Promise<string[]> {
  const made = (what: string) => text.matchAll(new RegExp(`^create ${what} (\\w+)`, 'gm')).map((match) => match[1]!);
  const queues = text.matchAll(/^select create_queue\('(\w+)'/gm).map((match) => match[1]!);
  const relations = [
    ...made('(?:unlogged )?table'),
    ...made('view'),
    ...made('sequence'),
    ...made('(?:unique )?index').filter((name) => name !== 'on'),
    ...queues.flatMap((queue) => [`${queue}_jobs`, `${queue}_jobs_live`, `${queue}_jobs_done`]),
  ];
  const rows = await query<{ what: string; name: string }>(client, sql.taken, {
    schema: quoted(schema),
    relations,
    functions: Array.from(text.matchAll(/create function (\w+)\(/g), (match) => match[1]!),
  });
  return rows.map(({ what, name }) => `${what} ${name} is there already, and not Rowmill's`);
}

/** Tables that usually belong to the user: which values the migrations write to their status columns. */
const used: Record<string, Record<string, string[]>> = {
  auction_files: { publish_status: ['pending', 'processing', 'published', 'failed'] },
  media: { status: ['PENDING', 'PROCESSING', 'READY', 'FAILED'] },
};

/** The types that a column may have if the migrations would create it with this type. */
const acceptable: Record<string, RegExp> = {
  text: /^(text|character varying|character)$/,
  integer: /^(integer|bigint|numeric)$/,
  bigint: /^(integer|bigint|numeric)$/,
  timestamptz: /^timestamp with(out)? time zone$/,
  jsonb: /^jsonb?$/,
};
const idTypes = /^(uuid|text|character varying|bigint|integer)$/;

async function unusable(client: Client, schema: string, text: string): Promise<string[]> {
  const found = [];
  for (const [name, statuses] of Object.entries(used)) {
    const [table] = await query<Table>(client, sql.used_table, { schema: quoted(schema), name });
    if (!table) continue;
    if (!table.is_table) found.push(`${name} is no table, and Rowmill adds columns to it`);
    else if (!table.ours)
      found.push(`table ${name} is owned by ${table.owner}, and Rowmill adds columns to it: connect as its owner`);
    else found.push(...(await faultsOf(client, schema, name, table, wantedColumns(text, name), statuses)));
  }
  return found;
}

type Table = { is_table: boolean; ours: boolean; owner: string; id_is_unique: boolean };
type Column = { name: string; type: string; base: string; is_enum: boolean; is_generated: boolean; checks: string[] };

/** The columns that the migrations add, and their types. */
function wantedColumns(text: string, table: string): Map<string, string> {
  const statements = text.matchAll(new RegExp(`^alter table ${table}\\s([^;]*)`, 'gm')).map((match) => match[1]!);
  return new Map(
    statements.flatMap((statement) =>
      statement.matchAll(/add column if not exists (\w+) +(\w+)/g).map((match) => [match[1]!, match[2]!] as const),
    ),
  );
}

async function faultsOf(
  client: Client,
  schema: string,
  name: string,
  table: Table,
  wanted: Map<string, string>,
  statuses: Record<string, string[]>,
): Promise<string[]> {
  const columns = await query<Column>(client, sql.used_columns, { schema: quoted(schema), name });
  const id = columns.find((column) => column.name === 'id');
  const faults = [];
  if (!id) faults.push(`table ${name} has no column id`);
  else if (!idTypes.test(id.base))
    faults.push(`${name}.id is ${id.type}: jobs can name rows by uuid, text, varchar, bigint or integer`);
  else if (!table.id_is_unique) faults.push(`${name}.id is not unique: make it the primary key`);
  for (const column of columns) {
    const type = wanted.get(column.name);
    if (!type) continue;
    const values = statuses[column.name];
    if (column.is_generated) faults.push(`${name}.${column.name} is generated, and Rowmill writes it`);
    else if (!acceptable[type]?.test(column.base) && !(values && column.is_enum))
      faults.push(`${name}.${column.name} is ${column.type}: Rowmill needs ${type}`);
    else if (values) faults.push(...(await refusedValues(client, name, column, values)));
  }
  return faults;
}

/** Triggers write the status: each value must be accepted by the column's type and checks. */
async function refusedValues(
  client: Client,
  table: string,
  { name, type, checks }: Column,
  values: string[],
): Promise<string[]> {
  const refused = [];
  for (const value of values) {
    const all = [`${quoted(name)}::text = $1`, ...checks.map((check) => `(${check}) is not false`)].join(' and ');
    await client.query('savepoint value');
    try {
      const { rows } = await client.query<{ fits: boolean }>(
        `select ${all} as fits from (select $1::text::${type} as ${quoted(name)}) row`,
        [value],
      );
      if (!rows[0]?.fits) refused.push(value);
    } catch (error) {
      if (!/^(22P02|23514|42883)$/.test((error as { code?: string }).code ?? ''))
        throw new Error(messageOf(error), { cause: error });
      refused.push(value);
    }
    await client.query('rollback to savepoint value');
  }
  if (refused.length === 0) return [];
  const each = refused.map((value) => `'${value}'`).join(', ');
  return [
    `${table}.${name} (${type}) does not accept ${each}, which Rowmill writes: ` +
      `add ${refused.length > 1 ? 'these values' : 'this value'}`,
  ];
}
